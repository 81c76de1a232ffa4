// One queue.

import { at, get, post, remove } from "../api.js";
import { bindingTable, bindTo } from "../bindings.js";
import { chart } from "../chart.js";
import { ask, confirm } from "../dialog.js";
import { button, card, el, facts, figures, head, link } from "../dom.js";
import { field, values } from "../form.js";
import { bytes, count, plain, rate, time } from "../format.js";
import { failed } from "../notice.js";
import { publish } from "../publish.js";
import { go, to } from "../router.js";
import { mayEnter } from "../session.js";
import { table } from "../table.js";
import { features } from "./queues.js";

export async function queue(page) {
  const { vhost, name } = page.parameters;
  const here = at`/queues/${vhost}/${name}`;
  const key = `${vhost}/${name}`;
  const queued = chart({ key: `queued ${key}`, title: "Queued messages", names: ["Ready", "Unacknowledged", "Total"], format: count });
  const rates = chart({ key: `rates ${key}`, title: "Message rates", names: ["Published", "Delivered", "Acknowledged"], format: rate });
  const [numbers, about, consumers] = [el("div"), el("div"), el("div")];
  const enters = await mayEnter(vhost);
  let isStream = false;

  async function load() {
    const one = await get(here);
    const stats = one.message_stats ?? {};
    isStream = one.type === "stream";
    const offsets = isStream && enters ? await stretch(vhost, name) : null;
    queued.add([one.messages_ready, one.messages_unacknowledged, one.messages]);
    rates.add(["publish_details", "deliver_get_details", "ack_details"].map((part) => stats[part]?.rate));
    numbers.replaceChildren(figures([
      ["Ready", count(one.messages_ready)], ["Unacknowledged", count(one.messages_unacknowledged)],
      ["Total", count(one.messages)], ["In memory", count(one.messages_ram)],
      ["Consumers", count(one.consumers)], ["Bodies", bytes(one.message_bytes)],
    ]));
    about.replaceChildren(facts([...described(one), ["Offsets", offsets]]));
    consumers.replaceChildren(table("Consumers", isStream ? READER : CONSUMER, one.consumer_details ?? [], "No consumers."));
  }

  page.refreshing(load);
  await load();
  return [
    head(name, {
      crumb: { text: `Queues · ${vhost}`, href: "#/queues" },
      actions: enters ? [
        el("a", { class: "button", href: to`/queues/${vhost}/${name}/messages` }, "Browse messages"),
        el("a", { class: "button", href: to`/queues/${vhost}/${name}/tail` }, "Watch"),
        button("Publish", () => publish({ vhost, exchange: "", key: name })),
        button("Bind", () => bindTo({ vhost, kind: "queue", name })),
        button("Purge", () => purge(here, name), "danger"),
        button("Delete", () => deleteQueue(here, name), "danger"),
      ] : [],
    }),
    card(null, numbers),
    el("div", { class: "cards" }, queued.element, rates.element),
    el("div", { class: "cards" }, card("About", about), enters && !isStream ? messages(here) : null),
    card("Consumers", consumers),
    await bindingTable(page, { title: "Bindings", direction: "to-queue", vhost, name, mayUnbind: enters }),
  ];
}

/** From which offset to which a stream has messages; nothing for who may not read it. */
async function stretch(vhost, name) {
  try {
    const { first, end } = await get(`${at`/leveret/messages/${vhost}/${name}`}?count=0`);
    return first === end ? `none; the next is ${count(end)}` : `${count(first)} to ${count(end - 1)}`;
  } catch (error) {
    if (error.isWrongLogin) throw error;
    return null;
  }
}

const CONSUMER = [
  { title: "Tag", cell: (one) => one.consumer_tag },
  {
    title: "Channel",
    cell: ({ channel_details: channel = {} }) => (channel.name
      ? link(channel.name, to`/channels/${channel.name}`) : ""),
  },
  { title: "Acknowledges", cell: (one) => (one.ack_required ? "yes" : "no") },
  { title: "Prefetch", number: true, cell: (one) => count(one.prefetch_count) },
  { title: "Active", cell: (one) => one.activity_status ?? (one.active ? "yes" : "no") },
  { title: "Exclusive", cell: (one) => (one.exclusive ? "yes" : "no") },
];

const READER = [
  ...CONSUMER.slice(0, 2),
  { title: "Next offset", number: true, cell: (one) => count(one.next_offset) },
  { title: "Behind", number: true, cell: (one) => count(one.offset_lag) },
  ...CONSUMER.slice(3, 4),
];

function described(one) {
  return [
    ["Type", one.type],
    ["Features", features(one)],
    ["State", one.state],
    ["Policy", one.policy],
    ["Operator policy", one.operator_policy],
    ...Object.entries(one.arguments ?? {}).map(([name, value]) => [name, plain(value)]),
    ...Object.entries(one.effective_policy_definition ?? {}).map(([name, value]) => [`by policy: ${name}`, plain(value)]),
    ["Exclusive to", one.owner_pid_details?.name],
    ["Single active consumer", one.single_active_consumer_tag],
    ["Delivery limit", one.delivery_limit == null ? null : plain(one.delivery_limit)],
    ["First message from", one.head_message_timestamp && time(one.head_message_timestamp * 1000)],
    ["Memory", bytes(one.memory)],
  ];
}

function purge(here, name) {
  confirm({
    title: `Purge ${name}?`, text: "All its ready messages are gone then, for good.", action: "Purge",
    done: "The queue is empty.", run: () => remove(`${here}/contents`),
  });
}

function deleteQueue(here, name) {
  ask({
    title: `Delete ${name}?`,
    content: [
      el("p", {}, "The queue goes with its messages, consumers and bindings, for good."),
      field({ name: "unused", label: "Only if it has no consumers", type: "checkbox" }),
      field({ name: "empty", label: "Only if it has no messages", type: "checkbox" }),
    ],
    action: "Delete", kind: "danger", done: "The queue is gone.",
    run: async ({ unused, empty }) => {
      await remove(`${here}?if-unused=${unused}&if-empty=${empty}`);
      go("/queues");
    },
  });
}

function messages(here) {
  const found = el("div", { "aria-live": "polite" });
  const form = el("form", { onsubmit: fetchThem },
    el("div", { class: "tools" },
      field({ name: "count", label: "How many", type: "number", min: 1, max: 1000, value: 1 }),
      field({
        name: "ackmode", label: "And then", type: "select",
        options: [
          ["ack_requeue_true", "put them back"], ["ack_requeue_false", "take them out"],
          ["reject_requeue_true", "reject, put back"], ["reject_requeue_false", "reject, dead-letter"],
        ],
      }),
      field({ name: "encoding", label: "Bodies", type: "select", options: [["auto", "as text"], ["base64", "as base64"]] }),
      el("div", { class: "field" }, el("button", { class: "primary" }, "Get"))),
    el("p", { class: "soft" }, "What is put back counts as delivered once: it is marked as redelivered. Browsing leaves no trace."));

  async function fetchThem(event) {
    event.preventDefault();
    try {
      const all = await post(`${here}/get`, { ...values(form), truncate: 50000 });
      found.replaceChildren(...(all.length > 0 ? all.map(message) : [el("p", { class: "empty" }, "There is none.")]));
    } catch (error) {
      found.replaceChildren(failed(error));
    }
  }

  return card("Messages", form, found);
}

function message(one) {
  const { headers = {}, ...properties } = one.properties;
  const pairs = (prefix, all) => Object.entries(all).map(([name, value]) => [prefix + name, plain(value)]);
  return el("article", { class: "message" },
    facts([
      ["Exchange", one.exchange || "(default)"], ["Routing key", one.routing_key],
      ["Redelivered", one.redelivered ? "yes" : "no"], ["Behind it", count(one.message_count)],
      ["Body", `${bytes(one.payload_bytes)}${one.payload_encoding === "base64" ? ", as base64" : ""}`],
      ...pairs("", properties), ...pairs("header ", headers),
    ]),
    el("pre", { tabindex: "0", "aria-label": "Body" }, one.payload));
}
