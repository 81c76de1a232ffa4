// All users, and a new one.

import { adminNav } from "../admin.js";
import { at, get, put } from "../api.js";
import { ask } from "../dialog.js";
import { button, card, el, head, link, tag } from "../dom.js";
import { field } from "../form.js";
import { to } from "../router.js";
import { table } from "../table.js";

const TAGS = ["administrator", "monitoring", "policymaker", "management"];

export async function users(page) {
  const list = el("div");
  async function load() {
    const [all, permissions] = await Promise.all([get("/users"), get("/permissions")]);
    const vhostsOf = (user) => permissions.filter((one) => one.user === user).map((one) => one.vhost);
    list.replaceChildren(table("Users", [
      { title: "Name", cell: (one) => link(one.name, to`/admin/users/${one.name}`) },
      { title: "Tags", cell: (one) => one.tags.map((text) => tag(text)) },
      { title: "Virtual hosts", cell: (one) => vhostsOf(one.name).join(", ") || "none" },
      { title: "Password", cell: (one) => (one.password_hash ? "yes" : "no") },
    ], all));
  }
  page.refreshing(load);
  await load();
  return [
    head("Users", { actions: [button("New user", create, "primary")] }),
    adminNav("Users"),
    card(null, list),
  ];
}

function create() {
  ask({
    title: "New user",
    content: [
      field({ name: "name", label: "Name", required: true }),
      field({ name: "password", label: "Password", type: "password", autocomplete: "new-password", required: true }),
      ...tagFields([]),
    ],
    action: "Create",
    done: "The user is there. It needs permissions to use a virtual host.",
    run: (entered) => put(at`/users/${entered.name}`, { password: entered.password, tags: tagsOf(entered) }),
  });
}

/** What the user may do in this interface and over the API. */
export function tagFields(tags) {
  return [
    el("fieldset", {}, el("legend", {}, "May use this interface as"), TAGS.map((name) => (
      field({ name: `tag-${name}`, label: name, type: "checkbox", checked: tags.includes(name) })))),
    field({
      name: "others", label: "Other tags", hint: "With commas between them.",
      value: tags.filter((name) => !TAGS.includes(name)).join(", "),
    }),
  ];
}

export function tagsOf(entered) {
  const others = (entered.others ?? "").split(",").map((text) => text.trim()).filter(Boolean);
  return [...TAGS.filter((name) => entered[`tag-${name}`]), ...others].join(",");
}
