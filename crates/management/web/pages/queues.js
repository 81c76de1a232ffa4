// All queues, and a new one.

import { at, put, vhostNames } from "../api.js";
import { argumentText } from "../bindings.js";
import { ask } from "../dialog.js";
import { button, el, head, link, tag } from "../dom.js";
import { field, table, TABLE_HINT } from "../form.js";
import { count, rate } from "../format.js";
import { to } from "../router.js";
import { liveTable } from "../table.js";

const COLUMNS = [
  { title: "Name", sort: "name", cell: (one) => link(one.name, to`/queues/${one.vhost}/${one.name}`) },
  { title: "Ready", number: true, sort: "messages_ready", cell: (one) => count(one.messages_ready) },
  { title: "Unacked", number: true, sort: "messages_unacknowledged", cell: (one) => count(one.messages_unacknowledged) },
  { title: "Total", number: true, sort: "messages", cell: (one) => count(one.messages) },
  { title: "Consumers", number: true, sort: "consumers", cell: (one) => count(one.consumers) },
  { title: "In", number: true, sort: "message_stats.publish_details.rate", cell: (one) => rate(one.message_stats?.publish_details?.rate) },
  { title: "Out", number: true, sort: "message_stats.deliver_get_details.rate", cell: (one) => rate(one.message_stats?.deliver_get_details?.rate) },
  { title: "Virtual host", sort: "vhost", cell: (one) => one.vhost },
  { title: "Type", sort: "type", cell: (one) => one.type },
  { title: "Features", cell: features },
];

export async function queues(page) {
  const list = await liveTable(page, { caption: "Queues", path: "/queues", columns: COLUMNS, empty: "No queues." });
  return [head("Queues", { actions: [button("New queue", create, "primary")] }), list];
}

/** What is special about a queue, as labels. */
export function features(one) {
  const own = Object.entries(one.arguments ?? {}).filter(([name]) => name !== "x-queue-type");
  return [
    one.durable && tag("durable"),
    one.auto_delete && tag("auto-delete"),
    one.exclusive && tag("exclusive"),
    one.policy && tag(`policy ${one.policy}`),
    one.operator_policy && tag(`operator policy ${one.operator_policy}`),
    own.length > 0 && el("span", { title: argumentText(Object.fromEntries(own)) }, tag("arguments")),
  ].filter(Boolean);
}

const number = (name, label, hint) => field({ name, label, type: "number", min: 0, hint });

/** The arguments that have a field; those that are empty are not sent. */
const ARGUMENTS = [
  "x-message-ttl", "x-expires", "x-max-length", "x-max-length-bytes", "x-overflow",
  "x-dead-letter-exchange", "x-dead-letter-routing-key", "x-max-priority", "x-delivery-limit",
];

async function create() {
  const vhosts = await vhostNames();
  ask({
    title: "New queue",
    content: [
      field({ name: "vhost", label: "Virtual host", type: "select", options: vhosts }),
      field({ name: "name", label: "Name", required: true }),
      field({ name: "type", label: "Type", type: "select", options: [["", "as the virtual host says"], "classic", "quorum", "stream"] }),
      field({ name: "durable", label: "Durable: there after a restart", type: "checkbox", checked: true }),
      field({ name: "auto_delete", label: "Auto-delete: goes with its last consumer", type: "checkbox" }),
      el("details", {}, el("summary", {}, "Limits and dead letters"),
        number("x-message-ttl", "Message TTL", "Milliseconds after which a message expires."),
        number("x-expires", "Expires", "Milliseconds after which the queue goes when nobody uses it."),
        number("x-max-length", "Length limit", "Ready messages."),
        number("x-max-length-bytes", "Length limit in bytes", "Of ready messages' bodies."),
        field({
          name: "x-overflow", label: "When it is full", type: "select",
          options: [["", "as usual: drop the oldest"], "drop-head", "reject-publish", "reject-publish-dlx"],
        }),
        field({ name: "x-dead-letter-exchange", label: "Dead-letter exchange" }),
        field({ name: "x-dead-letter-routing-key", label: "Dead-letter routing key" })),
      el("details", {}, el("summary", {}, "Delivery and further arguments"),
        number("x-max-priority", "Highest priority", "Of a classic queue."),
        number("x-delivery-limit", "Delivery limit", "Of a quorum queue: how often a message comes back."),
        field({ name: "single", label: "Single active consumer", type: "checkbox" }),
        field({ name: "further", label: "Further arguments", type: "textarea", hint: TABLE_HINT })),
    ],
    action: "Create",
    done: "The queue is there.",
    run: (entered) => {
      const given = ARGUMENTS.filter((name) => entered[name] !== undefined).map((name) => [name, entered[name]]);
      if (entered.type) given.push(["x-queue-type", entered.type]);
      if (entered.single) given.push(["x-single-active-consumer", true]);
      return put(at`/queues/${entered.vhost}/${entered.name}`, {
        durable: entered.durable,
        auto_delete: entered.auto_delete,
        arguments: { ...Object.fromEntries(given), ...table(entered.further) },
      });
    },
  });
}
