// What goes on, at a glance.

import { get } from "../api.js";
import { chart } from "../chart.js";
import { card, el, facts, figures, head, tag } from "../dom.js";
import { bytes, count, duration, rate } from "../format.js";
import { may } from "../session.js";
import { table } from "../table.js";

export async function overview(page) {
  const queued = chart({
    key: "queued", title: "Queued messages", names: ["Ready", "Unacknowledged", "Total"], format: count,
  });
  const rates = chart({
    key: "rates", title: "Message rates", names: ["Published", "Delivered", "Acknowledged"], format: rate,
  });
  const totals = el("div");
  const nodes = el("div", { class: "cards" });
  const listeners = el("div");
  const product = el("p", { class: "soft" });

  async function load() {
    const [now, all] = await Promise.all([get("/overview"), may.monitor() ? get("/nodes") : []]);
    const { queue_totals: lengths = {}, message_stats: stats = {}, object_totals: objects = {} } = now;
    queued.add([lengths.messages_ready, lengths.messages_unacknowledged, lengths.messages]);
    rates.add(["publish_details", "deliver_get_details", "ack_details"].map((key) => stats[key]?.rate));
    product.textContent = `${now.cluster_name}, answering as ${now.product_name} ${now.product_version}`;
    totals.replaceChildren(figures(
      ["connections", "channels", "exchanges", "queues", "consumers"].map((key) => [
        key[0].toUpperCase() + key.slice(1), count(objects[key]),
      ])));
    nodes.replaceChildren(...all.map(node));
    if (now.listeners) {
      listeners.replaceChildren(card("Listeners", table("Listeners", LISTENER, now.listeners)));
    }
  }

  page.refreshing(load);
  await load();
  return [
    el("div", {}, head("Overview"), product),
    card(null, totals),
    el("div", { class: "cards" }, queued.element, rates.element),
    nodes,
    listeners,
  ];
}

const LISTENER = [
  { title: "Protocol", cell: (one) => one.protocol },
  { title: "Address", cell: (one) => one.ip_address },
  { title: "Port", number: true, cell: (one) => one.port },
];

function node(one) {
  const alarms = [
    one.mem_alarm && tag("memory alarm: publishers wait", "bad"),
    one.disk_free_alarm && tag("disk alarm: publishers wait", "bad"),
  ].filter(Boolean);
  const of = (used, most) => (most ? `${used} of ${most}` : used);
  return card(`Node ${one.name}`,
    el("p", {}, alarms.length > 0 ? alarms : tag("no alarms")),
    facts([
      ["Up for", duration(one.uptime)],
      ["Memory", of(bytes(one.mem_used), bytes(one.mem_limit))],
      ["Disk free", `${bytes(one.disk_free)}, alarm below ${bytes(one.disk_free_limit)}`],
      ["File descriptors", of(count(one.fd_used), count(one.fd_total))],
      ["Processors", one.processors],
    ]));
}
