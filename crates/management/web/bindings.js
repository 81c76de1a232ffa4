// Bindings of an exchange or a queue: what there is, one more, one less.

import { at, post, remove } from "./api.js";
import { ask, confirm } from "./dialog.js";
import { button, link } from "./dom.js";
import { field, table as parse, TABLE_HINT } from "./form.js";
import { exchangeName, plain } from "./format.js";
import { to } from "./router.js";
import { liveTable } from "./table.js";

/**
 * A card of bindings, page by page: those `from` an exchange, `to-exchange`, or `to-queue`. They can be taken away by who
 * `mayUnbind`.
 */
export function bindingTable(page, { title, direction, vhost, name, mayUnbind }) {
  const end = direction === "from"
    ? { title: "To", sort: "destination", cell: destination }
    : { title: "From", sort: "source", cell: (one) => link(exchangeName(one.source), to`/exchanges/${one.vhost}/${one.source}`) };
  return liveTable(page, {
    title, caption: title, path: at`/leveret/bindings/${vhost}/${direction}/${name}`, inVhost: null,
    empty: direction === "to-queue" ? "None but that of the default exchange." : "No bindings.",
    columns: [
      end,
      { title: "Routing key", sort: "routing_key", cell: (one) => one.routing_key },
      { title: "Arguments", cell: (one) => argumentText(one.arguments) },
      { title: "", cell: (one) => mayUnbind && button("Unbind", () => unbind(one), "danger") },
    ],
  });
}

function destination(one) {
  return one.destination_type === "queue"
    ? link(`queue ${one.destination}`, to`/queues/${one.vhost}/${one.destination}`)
    : link(`exchange ${one.destination}`, to`/exchanges/${one.vhost}/${one.destination}`);
}

/** Arguments on one line. */
export function argumentText(all = {}) {
  return Object.entries(all).map(([name, value]) => `${name}: ${plain(value)}`).join(", ");
}

const letter = (kind) => (kind === "queue" ? "q" : "e");

function unbind(one) {
  confirm({
    title: "Unbind?",
    text: `Messages that ${one.source} gets with "${one.routing_key}" no longer go to ${one.destination} by this binding.`,
    action: "Unbind",
    done: "Unbound.",
    run: () => remove(at`/bindings/${one.vhost}/e/${one.source}/${letter(one.destination_type)}/${one.destination}/${one.properties_key}`),
  });
}

/** Asks for a binding to this queue or exchange. */
export function bindTo({ vhost, kind, name }) {
  ask({
    title: `Bind to ${name}`,
    content: [field({ name: "source", label: "From exchange", required: true }), ...keyFields()],
    action: "Bind",
    done: "Bound.",
    run: (entered) => bind(vhost, entered.source, kind, name, entered),
  });
}

/** Asks for a binding from this exchange. */
export function bindFrom({ vhost, exchange }) {
  ask({
    title: `Bind from ${exchange}`,
    content: [
      field({ name: "kind", label: "To", type: "select", options: [["queue", "a queue"], ["exchange", "an exchange"]] }),
      field({ name: "destination", label: "Name", required: true }),
      ...keyFields(),
    ],
    action: "Bind",
    done: "Bound.",
    run: (entered) => bind(vhost, exchange, entered.kind, entered.destination, entered),
  });
}

function keyFields() {
  return [
    field({ name: "key", label: "Routing key" }),
    field({ name: "arguments", label: "Arguments", type: "textarea", hint: TABLE_HINT }),
  ];
}

function bind(vhost, source, kind, destination, entered) {
  return post(at`/bindings/${vhost}/e/${source}/${letter(kind)}/${destination}`, {
    routing_key: entered.key ?? "", arguments: parse(entered.arguments),
  });
}
