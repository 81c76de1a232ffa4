// Replays: what one would do, its start, how it goes.

import { at, post, remove } from "./api.js";
import { ask } from "./dialog.js";
import { button, el } from "./dom.js";
import { field, values } from "./form.js";
import { count, exchangeName, time } from "./format.js";
import { failed, say } from "./notice.js";
import { refresh } from "./router.js";
import { table } from "./table.js";

const WAYS = [
  { title: "Messages", number: true, cell: (one) => count(one.messages) },
  { title: "Exchange", cell: (one) => exchangeName(one.exchange) },
  { title: "Routing key", cell: (one) => one.routing_key },
  { title: "Queues", cell: queues },
];

function queues(one) {
  if (one.exchange_is_missing) return "the exchange is gone: they stay";
  return one.queues.length > 0 ? one.queues.join(", ") : "none: they stay";
}

/** Asks for a replay of what `filter` means, which is called `what`; first it is tried dry. */
export function askForReplay({ vhost, queue, filter, what }) {
  const path = at`/leveret/replays/${vhost}/${queue}`;
  const plan = el("div", { "aria-live": "polite" });
  const order = ({ to, rate }) => ({ ...filter, to, rate });
  const target = field({
    name: "to", label: "Back to", type: "select",
    options: [["exchange", "the exchange and key it was published with"], ["queue", "the queue it first died in"]],
    onchange: (event) => tryDry(event.target.form),
  });
  ask({
    title: `Replay ${what}?`,
    content: [
      target,
      field({ name: "rate", label: "Messages a second", type: "number", min: 1, max: 100000, value: 100, required: true }),
      plan,
    ],
    action: "Replay",
    done: "The replay has begun.",
    run: (entered) => post(path, order(entered)),
  });

  async function tryDry(form) {
    try {
      const found = await post(path, { ...order(values(form)), dry_run: true });
      plan.replaceChildren(
        el("p", {}, `${found.is_whole ? "" : "At least "}${count(found.messages)} of ${count(found.looked_at)} messages:`),
        table("Where they would go", WAYS, found.ways));
    } catch (error) {
      plan.replaceChildren(failed(error));
    }
  }

  tryDry(target.closest("form"));
}

/** Replays as tables have them. */
export const REPLAY_COLUMNS = [
  { title: "Queue", cell: (one) => one.queue },
  { title: "State", cell: (one) => (one.error ? `${one.state}: ${one.error}` : one.state) },
  { title: "Replayed", number: true, cell: (one) => count(one.replayed) },
  { title: "Looked at", number: true, cell: (one) => count(one.looked_at) },
  { title: "Stayed", cell: stayed },
  { title: "Begun", cell: (one) => time(one.started_at) },
  { title: "By", cell: (one) => one.user },
  { title: "", cell: (one) => one.state === "running" && button("Cancel", () => cancel(one.id), "danger") },
];

function stayed(one) {
  const parts = [
    one.unroutable && `${count(one.unroutable)} for no queue`,
    one.no_room && `${count(one.no_room)} for full queues`,
    one.refused && `${count(one.refused)} refused (${one.last_refusal})`,
  ];
  return parts.filter(Boolean).join(", ");
}

async function cancel(id) {
  try {
    await remove(at`/leveret/replays/${id}`);
    say("The replay ends after the step it is at.");
  } catch (error) {
    say(error.message);
  }
  await refresh();
}
