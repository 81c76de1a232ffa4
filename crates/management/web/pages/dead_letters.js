// Queues that hold dead letters, and replays.

import { get, getSome } from "../api.js";
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
  const [queues, progress, replays] = [el("div"), el("p", { role: "status" }), el("div")];
  let left = 0;
  let isLeft = false;
  page.leaving(() => { isLeft = true; });

  async function load() {
    const [[found, more], all] = await Promise.all([getSome("/leveret/dead-letters"), get("/leveret/replays")]);
    left = more;
    progress.hidden = left === 0;
    progress.textContent = `${count(left)} queues are still to be looked through.`;
    queues.replaceChildren(table("Queues with dead letters", COLUMNS, found, "No queue has a dead letter in front."));
    replays.replaceChildren(table("Replays", REPLAY_COLUMNS, all, "No replays since the broker was started."));
  }

  /** Each answer looks through some queues more. */
  async function lookOn() {
    for (let before = Infinity; left > 0 && left < before && !isLeft;) {
      before = left;
      await load();
    }
  }

  page.refreshing(load);
  await load();
  // What fails here the next refresh shows.
  lookOn().catch(() => {});
  return [
    head("Dead letters"),
    card("Queues with dead letters", progress, queues),
    card("Replays", replays),
  ];
}
