// What the pages of administration have in common: the way between them, and dialogs of several.

import { at, put, remove } from "./api.js";
import { confirm, ask } from "./dialog.js";
import { button, el, link } from "./dom.js";
import { field } from "./form.js";
import { to } from "./router.js";
import { may } from "./session.js";
import { table } from "./table.js";

/** The pages of administration that the user may see, with the one that is shown. */
export function adminNav(current) {
  const pages = [
    ["Virtual hosts", "#/admin"],
    may.administer() && ["Users", "#/admin/users"],
    ["Policies", "#/admin/policies"],
    ["Features", "#/admin/features"],
    may.administer() && ["Definitions", "#/admin/definitions"],
  ].filter(Boolean);
  return el("nav", { class: "sub", "aria-label": "Administration" }, pages.map(([text, href]) => (
    el("a", { href, "aria-current": text === current ? "page" : null }, text))));
}

/** Permissions as a table, of a user or of a vhost. */
export function permissionTable(all, of) {
  const other = of === "user"
    ? { title: "Virtual host", cell: (one) => link(one.vhost, to`/admin/vhosts/${one.vhost}`) }
    : { title: "User", cell: (one) => link(one.user, to`/admin/users/${one.user}`) };
  const expression = (title, key) => ({ title, cell: (one) => el("code", {}, one[key]) });
  return table("Permissions", [
    other, expression("Configure", "configure"), expression("Write", "write"), expression("Read", "read"),
    {
      title: "",
      cell: (one) => button("Take away", () => confirm({
        title: "Take the permission away?", text: `${one.user} can no longer use the virtual host ${one.vhost}.`,
        action: "Take away", done: "Taken away.", run: () => remove(at`/permissions/${one.vhost}/${one.user}`),
      }), "danger"),
    },
  ], all, "No permissions.");
}

/** Asks for a permission; either end is given or chosen from `choices`. */
export function givePermission({ user, vhost, choices }) {
  const other = user === undefined ? ["user", "User"] : ["vhost", "Virtual host"];
  const expression = (name, label) => field({ name, label, value: ".*" });
  ask({
    title: "Give a permission",
    content: [
      field({ name: other[0], label: other[1], type: "select", options: choices }),
      el("p", { class: "soft" }, "Regular expressions for the names of what may be used; an empty one permits nothing."),
      expression("configure", "Configure: declare and delete"),
      expression("write", "Write: publish and bind"),
      expression("read", "Read: consume and get"),
    ],
    action: "Give",
    done: "The permission holds from now on.",
    run: ({ configure = "", write = "", read = "", ...chosen }) => (
      put(at`/permissions/${vhost ?? chosen.vhost}/${user ?? chosen.user}`, { configure, write, read })
    ),
  });
}

/** Limits as a table. `path` is where those of the object are; `names` are those there can be. */
export function limitTable(path, names, limits) {
  return table("Limits", [
    { title: "Limit", cell: (name) => name },
    { title: "Value", number: true, cell: (name) => limits[name] ?? "none" },
    { title: "", cell: (name) => el("div", { class: "actions" },
      button("Set", () => setLimit(path, name, limits[name])),
      limits[name] !== undefined && button("Lift", () => confirm({
        title: `Lift ${name}?`, text: "There is no limit then.", action: "Lift", done: "Lifted.",
        run: () => remove(path + at`/${name}`),
      }), "danger")) },
  ], names);
}

function setLimit(path, name, value) {
  ask({
    title: `Set ${name}`,
    content: field({ name: "value", label: "Value", type: "number", value, required: true, hint: "0 permits none; -1 is no limit." }),
    action: "Set", done: "The limit holds from now on.",
    run: (entered) => put(path + at`/${name}`, { value: entered.value }),
  });
}
