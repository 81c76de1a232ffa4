// One user.

import { adminNav, givePermission, limitTable, permissionTable } from "../admin.js";
import { at, get, put, remove, vhostNames } from "../api.js";
import { ask, confirm } from "../dialog.js";
import { button, card, el, facts, head, tag } from "../dom.js";
import { field } from "../form.js";
import { go } from "../router.js";
import { table } from "../table.js";
import { tagFields, tagsOf } from "./users.js";

export async function user(page) {
  const { name } = page.parameters;
  const here = at`/users/${name}`;
  const [about, permissions, topics, limits] = [el("div"), el("div"), el("div"), el("div")];
  let current;

  async function load() {
    const [one, allowed, byTopic] = await Promise.all([
      get(here), get(`${here}/permissions`), get(`${here}/topic-permissions`),
    ]);
    current = one;
    about.replaceChildren(facts([
      ["Tags", one.tags.length > 0 ? one.tags.map((text) => tag(text)) : "none"],
      ["Password", one.password_hash ? "yes" : "no: can't log in with one"],
    ]));
    permissions.replaceChildren(permissionTable(allowed, "user"));
    topics.replaceChildren(table("Topic permissions", TOPIC, byTopic, "No topic permissions: all routing keys are permitted."));
    limits.replaceChildren(limitTable(at`/user-limits/${name}`, ["max-connections", "max-channels"], one.limits));
  }

  function edit() {
    ask({
      title: `Edit ${name}`,
      content: [
        field({
          name: "password", label: "New password", type: "password", autocomplete: "new-password",
          hint: "Empty: it stays as it is.",
        }),
        ...tagFields(current.tags),
      ],
      action: "Save",
      done: "Saved.",
      run: (entered) => put(here, {
        ...(entered.password
          ? { password: entered.password }
          : { password_hash: current.password_hash, hashing_algorithm: current.hashing_algorithm }),
        tags: tagsOf(entered),
      }),
    });
  }

  page.refreshing(load);
  await load();
  return [
    head(name, {
      crumb: { text: "Users", href: "#/admin/users" },
      actions: [
        button("Edit", edit),
        button("Delete", () => confirm({
          title: `Delete ${name}?`, text: "The user goes with its permissions and can no longer log in.",
          action: "Delete", done: "The user is gone.",
          run: async () => {
            await remove(here);
            go("/admin/users");
          },
        }), "danger"),
      ],
    }),
    adminNav("Users"),
    el("div", { class: "cards" }, card("About", about), card("Limits", limits)),
    card("Permissions", permissions, button("Give a permission", async () => {
      givePermission({ user: name, choices: await vhostNames() });
    })),
    card("Topic permissions", topics, button("Give a topic permission", () => giveTopic(name))),
  ];
}

const TOPIC = [
  { title: "Virtual host", cell: (one) => one.vhost },
  { title: "Exchange", cell: (one) => one.exchange },
  { title: "Write", cell: (one) => el("code", {}, one.write) },
  { title: "Read", cell: (one) => el("code", {}, one.read) },
  {
    title: "",
    cell: (one) => button("Take away", () => confirm({
      title: "Take the topic permission away?", text: `All routing keys of ${one.exchange} are permitted then.`,
      action: "Take away", done: "Taken away.",
      run: () => remove(at`/topic-permissions/${one.vhost}/${one.user}/${one.exchange}`),
    }), "danger"),
  },
];

async function giveTopic(user) {
  const vhosts = await vhostNames();
  ask({
    title: "Give a topic permission",
    content: [
      field({ name: "vhost", label: "Virtual host", type: "select", options: vhosts }),
      field({ name: "exchange", label: "Topic exchange", required: true }),
      field({ name: "write", label: "Write: routing keys to publish with", value: ".*" }),
      field({ name: "read", label: "Read: routing keys to bind with", value: ".*" }),
    ],
    action: "Give",
    done: "The topic permission holds from now on.",
    run: ({ vhost, exchange, write = "", read = "" }) => (
      put(at`/topic-permissions/${vhost}/${user}`, { exchange, write, read })
    ),
  });
}
