// Feature flags and what is deprecated.

import { adminNav } from "../admin.js";
import { get } from "../api.js";
import { card, head } from "../dom.js";
import { table } from "../table.js";

export async function features() {
  const [flags, deprecated] = await Promise.all([get("/feature-flags"), get("/deprecated-features")]);
  return [
    head("Features"),
    adminNav("Features"),
    card("Feature flags", table("Feature flags", [
      { title: "Name", cell: (one) => one.name },
      { title: "State", cell: (one) => one.state },
      { title: "What it is", cell: (one) => one.desc },
    ], flags)),
    card("Deprecated features", table("Deprecated features", [
      { title: "Name", cell: (one) => one.name },
      { title: "State", cell: (one) => one.state },
      { title: "Phase", cell: (one) => one.deprecation_phase },
    ], deprecated)),
  ];
}
