// One virtual host.

import { adminNav, givePermission, limitTable, permissionTable } from "../admin.js";
import { at, get, post, put, remove } from "../api.js";
import { ask, confirm } from "../dialog.js";
import { button, card, el, facts, head } from "../dom.js";
import { count } from "../format.js";
import { go } from "../router.js";
import { table } from "../table.js";
import { vhostBody, vhostFields } from "./vhosts.js";

export async function vhost(page) {
  const { name } = page.parameters;
  const here = at`/vhosts/${name}`;
  const protection = `${here}/deletion/protection`;
  const [about, permissions, topics, limits] = [el("div"), el("div"), el("div"), el("div")];
  const guard = button("", toggleProtection);
  let current;

  async function load() {
    const [one, allowed, byTopic, [limit]] = await Promise.all([
      get(here), get(`${here}/permissions`), get(`${here}/topic-permissions`), get(at`/vhost-limits/${name}`),
    ]);
    current = one;
    guard.textContent = one.protected_from_deletion ? "Unprotect" : "Protect from deletion";
    about.replaceChildren(facts([
      ["Description", one.description], ["Tags", one.tags.join(", ")], ["Default queue type", one.default_queue_type],
      ["Traced", one.tracing ? "yes" : "no"], ["Protected", one.protected_from_deletion ? "yes" : "no"],
      ["Messages", count(one.messages)],
    ]));
    permissions.replaceChildren(permissionTable(allowed, "vhost"));
    topics.replaceChildren(table("Topic permissions", TOPIC, byTopic, "No topic permissions."));
    limits.replaceChildren(limitTable(at`/vhost-limits/${name}`, ["max-connections", "max-queues"], limit?.value ?? {}));
  }

  async function toggleProtection() {
    const isProtected = current.protected_from_deletion;
    confirm({
      title: isProtected ? "Unprotect?" : "Protect from deletion?",
      text: isProtected ? "The virtual host can be deleted then." : "It can't be deleted until it is unprotected.",
      action: isProtected ? "Unprotect" : "Protect",
      done: isProtected ? "It can be deleted now." : "It is protected now.",
      run: () => (isProtected ? remove(protection) : post(protection)),
    });
  }

  page.refreshing(load);
  await load();
  return [
    head(name, {
      crumb: { text: "Virtual hosts", href: "#/admin" },
      actions: [
        button("Edit", () => ask({
          title: `Edit ${name}`, content: vhostFields(current), action: "Save", done: "Saved.",
          run: (entered) => put(here, {
            ...vhostBody(entered), protected_from_deletion: current.protected_from_deletion,
          }),
        })),
        guard,
        button("Delete", () => confirm({
          title: `Delete ${name}?`,
          text: "Everything in it goes for good: queues with their messages, exchanges, bindings, policies, permissions.",
          action: "Delete", done: "The virtual host is gone.",
          run: async () => {
            await remove(here);
            go("/admin");
          },
        }), "danger"),
      ],
    }),
    adminNav("Virtual hosts"),
    el("div", { class: "cards" }, card("About", about), card("Limits", limits)),
    card("Permissions", permissions, button("Give a permission", async () => {
      const users = await get("/users");
      givePermission({ vhost: name, choices: users.map((user) => user.name) });
    })),
    card("Topic permissions", topics),
  ];
}

const TOPIC = [
  { title: "User", cell: (one) => one.user },
  { title: "Exchange", cell: (one) => one.exchange },
  { title: "Write", cell: (one) => el("code", {}, one.write) },
  { title: "Read", cell: (one) => el("code", {}, one.read) },
];
