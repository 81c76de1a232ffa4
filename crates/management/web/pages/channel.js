// One channel.

import { at, get } from "../api.js";
import { mode } from "../channels.js";
import { chart } from "../chart.js";
import { card, el, facts, head, link } from "../dom.js";
import { count, rate } from "../format.js";
import { to } from "../router.js";
import { table } from "../table.js";

export async function channel(page) {
  const { name } = page.parameters;
  const rates = chart({
    key: `channel ${name}`, title: "Message rates", names: ["Published", "Delivered", "Acknowledged"], format: rate,
  });
  const [about, consumers] = [el("div"), el("div")];

  async function load() {
    const one = await get(at`/channels/${name}`);
    const stats = one.message_stats ?? {};
    rates.add(["publish_details", "deliver_get_details", "ack_details"].map((key) => stats[key]?.rate));
    const connection = one.connection_details.name;
    about.replaceChildren(facts([
      ["Connection", link(connection, to`/connections/${connection}`)],
      ["User", one.user], ["Virtual host", one.vhost], ["State", one.state], ["Mode", mode(one)],
      ["Prefetch", count(one.prefetch_count)], ["Shared prefetch", count(one.global_prefetch_count)],
      ["Unacknowledged", count(one.messages_unacknowledged)], ["Unconfirmed", count(one.messages_unconfirmed)],
      ["Uncommitted", count(one.messages_uncommitted)],
      ["Published", count(stats.publish)], ["Returned as unroutable", count(stats.return_unroutable)],
      ["Dropped as unroutable", count(stats.drop_unroutable)],
    ]));
    consumers.replaceChildren(table("Consumers", CONSUMER, one.consumer_details ?? [], "No consumers."));
  }

  page.refreshing(load);
  await load();
  return [
    head(name, { crumb: { text: "Channels", href: "#/channels" } }),
    el("div", { class: "cards" }, card("About", about), rates.element),
    card("Consumers", consumers),
  ];
}

const CONSUMER = [
  { title: "Tag", cell: (one) => one.consumer_tag },
  { title: "Queue", cell: ({ queue }) => link(queue.name, to`/queues/${queue.vhost}/${queue.name}`) },
  { title: "Acknowledges", cell: (one) => (one.ack_required ? "yes" : "no") },
  { title: "Prefetch", number: true, cell: (one) => count(one.prefetch_count) },
];
