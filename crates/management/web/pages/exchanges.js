// All exchanges, and a new one.

import { argumentText } from "../bindings.js";
import { at, get, put, vhostNames } from "../api.js";
import { ask } from "../dialog.js";
import { button, el, head, link, tag } from "../dom.js";
import { field, table, TABLE_HINT } from "../form.js";
import { exchangeName, rate } from "../format.js";
import { to } from "../router.js";
import { liveTable } from "../table.js";

const COLUMNS = [
  { title: "Name", sort: "name", cell: (one) => link(exchangeName(one.name), to`/exchanges/${one.vhost}/${one.name}`) },
  { title: "Type", sort: "type", cell: (one) => one.type },
  { title: "In", number: true, sort: "message_stats.publish_in_details.rate", cell: (one) => rate(one.message_stats?.publish_in_details?.rate) },
  { title: "Out", number: true, sort: "message_stats.publish_out_details.rate", cell: (one) => rate(one.message_stats?.publish_out_details?.rate) },
  { title: "Virtual host", sort: "vhost", cell: (one) => one.vhost },
  { title: "Features", cell: exchangeFeatures },
];

export async function exchanges(page) {
  const list = await liveTable(page, { caption: "Exchanges", path: "/exchanges", columns: COLUMNS, empty: "No exchanges." });
  return [head("Exchanges", { actions: [button("New exchange", create, "primary")] }), list];
}

/** What is special about an exchange, as labels. */
export function exchangeFeatures(one) {
  const own = Object.keys(one.arguments ?? {}).length > 0;
  return [
    one.durable && tag("durable"),
    one.auto_delete && tag("auto-delete"),
    one.internal && tag("internal"),
    one.policy && tag(`policy ${one.policy}`),
    own && el("span", { title: argumentText(one.arguments) }, tag("arguments")),
  ].filter(Boolean);
}

async function create() {
  const [vhosts, { exchange_types: types }] = await Promise.all([vhostNames(), get("/overview?columns=exchange_types")]);
  ask({
    title: "New exchange",
    content: [
      field({ name: "vhost", label: "Virtual host", type: "select", options: vhosts }),
      field({ name: "name", label: "Name", required: true }),
      field({ name: "type", label: "Type", type: "select", options: types.map((type) => type.name) }),
      field({ name: "durable", label: "Durable: there after a restart", type: "checkbox", checked: true }),
      field({ name: "auto_delete", label: "Auto-delete: goes with its last binding", type: "checkbox" }),
      field({ name: "internal", label: "Internal: nobody can publish to it", type: "checkbox" }),
      field({ name: "alternate", label: "Alternate exchange", hint: "Gets what can't be routed." }),
      field({ name: "further", label: "Further arguments", type: "textarea", hint: TABLE_HINT }),
    ],
    action: "Create",
    done: "The exchange is there.",
    run: ({ vhost, name, type, durable, auto_delete, internal, alternate, further }) => (
      put(at`/exchanges/${vhost}/${name}`, {
        type, durable, auto_delete, internal,
        arguments: { ...(alternate && { "alternate-exchange": alternate }), ...table(further) },
      })
    ),
  });
}
