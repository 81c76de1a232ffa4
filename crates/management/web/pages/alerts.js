// Alerts that fire, the rules, silences, and who is told.

import { at, get, post, remove } from "../api.js";
import { ask } from "../dialog.js";
import { button, card, el, head, link, tag } from "../dom.js";
import { field } from "../form.js";
import { count, duration, time } from "../format.js";
import { say } from "../notice.js";
import { refresh, to } from "../router.js";
import { may } from "../session.js";
import { table } from "../table.js";

const ALERTS = [
  { title: "Rule", cell: (one) => one.rule },
  { title: "What is so", cell: (one) => [one.summary, one.is_silenced && tag("silenced")].filter(Boolean) },
  { title: "Queue", cell: (one) => one.queue != null && link(one.queue, to`/queues/${one.vhost}/${one.queue}`) },
  { title: "Virtual host", cell: (one) => one.vhost },
  { title: "Since", cell: (one) => time(one.since) },
  { title: "", cell: (one) => may.administer() && button("Silence", () => silence(one)) },
];

const RULES = [
  { title: "Name", cell: (one) => one.name },
  { title: "When", cell: (one) => one.when.replace("_", " ") },
  { title: "Bound", number: true, cell: (one) => (one.when === "age" ? duration(one.bound) : count(one.bound)) },
  { title: "Queues", cell: (one) => one.queues ?? "" },
  { title: "Virtual host", cell: (one) => one.vhost ?? "" },
  { title: "For", cell: (one) => duration(one.for_ms) },
  { title: "Told again after", cell: (one) => duration(one.repeat_ms) },
  { title: "Told", cell: (one) => one.notify.join(", ") },
  { title: "Fires", number: true, cell: (one) => count(one.firing) },
];

const SILENCES = [
  { title: "Rule", cell: (one) => one.rule ?? "all" },
  { title: "Virtual host", cell: (one) => one.vhost ?? "" },
  { title: "Queue", cell: (one) => one.queue ?? "" },
  { title: "Until", cell: (one) => time(one.until) },
  { title: "By", cell: (one) => one.user },
  { title: "Comment", cell: (one) => one.comment },
  { title: "", cell: (one) => may.administer() && button("End", () => end(one.id), "danger") },
];

const RECEIVERS = [
  { title: "Name", cell: (one) => one.name },
  { title: "By", cell: (one) => one.by },
  { title: "Told", number: true, cell: (one) => count(one.delivered) },
  { title: "Not told", number: true, cell: (one) => count(one.failed) },
  { title: "Last told", cell: (one) => time(one.last_delivered_at) },
  { title: "Last error", cell: (one) => one.last_error ?? "" },
];

export async function alerts(page) {
  const [firing, rules, silences, receivers] = [el("div"), el("div"), el("div"), el("div")];

  async function load() {
    const all = await get("/leveret/alerts");
    firing.replaceChildren(table("Alerts", ALERTS, all.alerts, "No alert fires."));
    rules.replaceChildren(table("Rules", RULES, all.rules, "The configuration has no rules."));
    silences.replaceChildren(table("Silences", SILENCES, all.silences, "Nothing is silenced."));
    receivers.replaceChildren(table("Receivers", RECEIVERS, all.receivers, "The configuration names nobody to tell."));
  }

  page.refreshing(load);
  await load();
  return [
    head("Alerts"),
    card("Firing", firing),
    card("Rules", rules),
    card("Silences", silences),
    card("Receivers", receivers),
  ];
}

function silence({ rule, vhost, queue }) {
  ask({
    title: `Silence ${rule}${queue == null ? "" : ` for ${queue}`}?`,
    content: [
      field({ name: "minutes", label: "Minutes", type: "number", min: 1, max: 525600, value: 60, required: true }),
      field({ name: "comment", label: "Comment", maxlength: 300 }),
    ],
    action: "Silence",
    done: "Nobody is told of it meanwhile.",
    run: ({ minutes, comment }) => post("/leveret/silences", { rule, vhost, queue, comment, seconds: minutes * 60 }),
  });
}

async function end(id) {
  try {
    await remove(at`/leveret/silences/${id}`);
    say("The silence has ended.");
  } catch (error) {
    say(error.message);
  }
  await refresh();
}
