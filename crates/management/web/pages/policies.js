// Policies, and operator policies, which bound what they may set.

import { adminNav } from "../admin.js";
import { at, get, put, remove, vhostNames } from "../api.js";
import { ask, confirm } from "../dialog.js";
import { button, card, el, head } from "../dom.js";
import { field, table as parse, TABLE_HINT } from "../form.js";
import { plain } from "../format.js";
import { may } from "../session.js";
import { table } from "../table.js";

const KINDS = [
  { title: "Policies", one: "policy", path: "/policies", isPermitted: () => may.makePolicies() },
  { title: "Operator policies", one: "operator policy", path: "/operator-policies", isPermitted: () => may.administer() },
];

export async function policies(page) {
  const places = KINDS.map(() => el("div"));
  async function load() {
    const lists = await Promise.all(KINDS.map((kind) => get(kind.path)));
    lists.forEach((all, index) => places[index].replaceChildren(
      table(KINDS[index].title, columns(KINDS[index]), all, `No ${KINDS[index].title.toLowerCase()}.`)));
  }
  page.refreshing(load);
  await load();
  return [
    head("Policies"),
    adminNav("Policies"),
    ...KINDS.map((kind, index) => card(kind.title, places[index],
      kind.isPermitted() && button(`New ${kind.one}`, () => edit(kind), "primary"))),
  ];
}

function columns(kind) {
  return [
    { title: "Name", cell: (one) => one.name },
    { title: "Virtual host", cell: (one) => one.vhost },
    { title: "Pattern", cell: (one) => el("code", {}, one.pattern) },
    { title: "Applies to", cell: (one) => one["apply-to"] },
    { title: "Priority", number: true, cell: (one) => one.priority },
    { title: "Sets", cell: (one) => lines(one.definition).join(", ") },
    {
      title: "",
      cell: (one) => kind.isPermitted() && el("div", { class: "actions" },
        button("Edit", () => edit(kind, one)),
        button("Delete", () => confirm({
          title: `Delete ${one.name}?`, text: "What it set holds no longer.", action: "Delete",
          done: `The ${kind.one} is gone.`, run: () => remove(kind.path + at`/${one.vhost}/${one.name}`),
        }), "danger")),
    },
  ];
}

const lines = (all) => Object.entries(all).map(([name, value]) => `${name} = ${plain(value)}`);

async function edit(kind, old) {
  const vhosts = old ? [old.vhost] : await vhostNames();
  ask({
    title: old ? `Edit ${old.name}` : `New ${kind.one}`,
    content: [
      field({ name: "vhost", label: "Virtual host", type: "select", options: vhosts }),
      field({ name: "name", label: "Name", value: old?.name, readonly: Boolean(old), required: true }),
      field({ name: "pattern", label: "Pattern", value: old?.pattern, required: true, hint: "A regular expression for names." }),
      field({
        name: "to", label: "Applies to", type: "select", value: old?.["apply-to"],
        options: kind.one === "policy"
          ? ["all", "queues", "classic_queues", "quorum_queues", "streams", "exchanges"]
          : ["queues", "classic_queues", "quorum_queues", "streams"],
      }),
      field({ name: "priority", label: "Priority", type: "number", value: old?.priority ?? 0, hint: "The highest that matches holds." }),
      field({
        name: "definition", label: "Sets", type: "textarea", required: true, hint: TABLE_HINT,
        value: old ? lines(old.definition).join("\n") : "", placeholder: "max-length = 10000\nmessage-ttl = 60000",
      }),
    ],
    action: "Save",
    done: "Saved; it holds from now on.",
    run: (entered) => put(kind.path + at`/${entered.vhost}/${entered.name}`, {
      pattern: entered.pattern, definition: parse(entered.definition),
      priority: entered.priority ?? 0, "apply-to": entered.to,
    }),
  });
}
