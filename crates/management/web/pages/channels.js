// All channels.

import { at } from "../api.js";
import { CHANNEL_COLUMNS } from "../channels.js";
import { head } from "../dom.js";
import { liveTable } from "../table.js";

export async function channels(page) {
  const list = await liveTable(page, {
    caption: "Channels", path: "/channels", columns: CHANNEL_COLUMNS, empty: "No channels.",
    inVhost: (vhost) => at`/vhosts/${vhost}/channels`,
  });
  return [head("Channels"), list];
}
