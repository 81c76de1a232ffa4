// Messages of a queue or an exchange as they pass.

import { at, events } from "../api.js";
import { button, card, el, head } from "../dom.js";
import { field, values } from "../form.js";
import { count, exchangeName } from "../format.js";
import { messageItem } from "../message.js";
import { failed } from "../notice.js";
import { FORMS } from "../payload.js";
import { to } from "../router.js";

/** Messages that stay on the page. */
const SHOWN = 200;

export function tail(page, kind) {
  const { vhost, name } = page.parameters;
  const here = at`/leveret/tail/${vhost}/${kind}/${kind === "exchange" && name === "" ? "amq.default" : name}`;
  const list = el("div", { class: "stack" });
  const state = el("span", { role: "status" }, "Not watching.");
  const toggle = button("Watch", () => (watch ? end() : begin()), "primary");
  const form = el("form", { onsubmit: (event) => event.preventDefault() }, el("div", { class: "tools" },
    field({ name: "contains", label: "Only with this text", type: "search" }),
    field({ name: "form", label: "Show bodies", type: "select", options: FORMS }),
    el("div", { class: "field" }, toggle)));
  let watch = null;
  let [seen, lost] = [0, 0];

  function tell() {
    state.textContent = `${watch ? "Watching" : "Not watching"}: ${count(seen)} passed`
      + `${lost > 0 ? `, ${count(lost)} more were too fast to be shown` : ""}.`;
  }

  function show(one) {
    const { contains = "", form: shape } = values(form);
    if (!JSON.stringify(one).toLowerCase().includes(contains.toLowerCase())) return;
    list.prepend(messageItem(one, { form: shape, label: `#${count(seen)}` }));
    if (list.childElementCount > SHOWN) list.lastElementChild.remove();
  }

  async function begin() {
    watch = new AbortController();
    const { signal } = watch;
    toggle.textContent = "Pause";
    try {
      await events(here, signal, (event, data) => {
        if (signal.aborted) return;
        if (event === "lost") lost += data.messages;
        if (event === "message") {
          seen += 1;
          show(data);
        }
        tell();
      });
      if (!signal.aborted) end();
    } catch (error) {
      if (signal.aborted) return;
      end();
      list.prepend(failed(error));
    }
  }

  function end() {
    watch?.abort();
    watch = null;
    toggle.textContent = "Watch";
    tell();
  }

  page.leaving(end);
  begin();
  const isQueue = kind === "queue";
  return [
    head(`Passing through ${isQueue ? name : exchangeName(name)}`, {
      crumb: isQueue
        ? { text: `Queue ${name}`, href: to`/queues/${vhost}/${name}` }
        : { text: `Exchange ${exchangeName(name)}`, href: to`/exchanges/${vhost}/${name}` },
    }),
    card(null,
      el("p", { class: "soft" }, isQueue
        ? "Copies of what the queue gets from now on. Nothing is taken."
        : "Copies of what clients publish to the exchange from now on, also of what has no route. Nothing is taken."),
      form),
    card(null, state, list),
  ];
}
