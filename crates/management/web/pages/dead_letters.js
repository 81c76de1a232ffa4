// Queues that hold dead letters, and replays.

import { get } from "../api.js";
import { card, el, head, link } from "../dom.js";
import { count, time } from "../format.js";
import { REPLAY_COLUMNS } from "../replay.js";
import { to } from "../router.js";
import { table } from "../table.js";

const COLUMNS = [
  { title: "Queue", cell: (one) => link(one.queue, to`/dead-letters/${one.vhost}/${one.queue}`) },
  { title: "Messages", number: true, cell: (one) => count(one.messages) },
  { title: "The first died of", cell: (one) => one.first_death.reason },
  { title: "In", cell: (one) => link(one.first_death.queue, to`/queues/${one.vhost}/${one.first_death.queue}`) },
  { title: "Arrived", cell: (one) => time(one.first_arrived_at) },
  { title: "Virtual host", cell: (one) => one.vhost },
];

export async function deadLetters(page) {
  const [queues, replays] = [el("div"), el("div")];

  async function load() {
    const [found, all] = await Promise.all([get("/leveret/dead-letters"), get("/leveret/replays")]);
    queues.replaceChildren(table("Queues with dead letters", COLUMNS, found, "No queue has a dead letter in front."));
    replays.replaceChildren(table("Replays", REPLAY_COLUMNS, all, "No replays since the broker was started."));
  }

  page.refreshing(load);
  await load();
  return [
    head("Dead letters"),
    card("Queues with dead letters", queues),
    card("Replays", replays),
  ];
}
