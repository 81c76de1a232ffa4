// The route tester: where a message would go, and why not elsewhere.

import { argumentText } from "../bindings.js";
import { at, get, post, vhostNames } from "../api.js";
import { card, el, head, link, tag } from "../dom.js";
import { field, table as parse, TABLE_HINT, values } from "../form.js";
import { count, exchangeName } from "../format.js";
import { failed } from "../notice.js";
import { to } from "../router.js";
import { table } from "../table.js";

export async function routeTester() {
  const [vhosts, exchanges] = await Promise.all([vhostNames(), get("/exchanges?columns=name,vhost")]);
  const found = el("div", { class: "stack", "aria-live": "polite" });
  const options = (vhost) => exchanges.filter((one) => one.vhost === vhost)
    .map((one) => el("option", { value: one.name || "amq.default" }, exchangeName(one.name)));
  const form = el("form", { onsubmit: explain },
    el("div", { class: "tools" },
      field({ name: "vhost", label: "Virtual host", type: "select", options: vhosts }),
      field({ name: "exchange", label: "Exchange", type: "select" }),
      field({ name: "key", label: "Routing key" }),
      el("div", { class: "field" }, el("button", { class: "primary" }, "Show the way"))),
    el("details", {}, el("summary", {}, "Headers"),
      field({ name: "headers", label: "Headers", type: "textarea", hint: TABLE_HINT })));
  const choose = () => form.elements.exchange.replaceChildren(...options(form.elements.vhost.value));
  form.elements.vhost.addEventListener("change", choose);
  choose();

  async function explain(event) {
    event.preventDefault();
    const entered = values(form);
    try {
      const { queues, exchanges: way } = await post(at`/leveret/route/${entered.vhost}/${entered.exchange}`, {
        routing_key: entered.key ?? "", properties: { headers: parse(entered.headers) },
      });
      found.replaceChildren(result(entered.vhost, queues), ...way.map((visit) => step(entered.vhost, visit)));
    } catch (error) {
      found.replaceChildren(failed(error));
    }
  }

  return [
    head("Route tester"),
    card(null, el("p", { class: "soft" }, "Where would this message go? Nothing is published."), form),
    found,
  ];
}

function result(vhost, queues) {
  return card(queues.length > 0 ? `It reaches ${count(queues.length)} ${queues.length === 1 ? "queue" : "queues"}` : "It reaches no queue",
    el("p", {}, queues.length > 0
      ? queues.map((name, index) => [index > 0 && ", ", link(name, to`/queues/${vhost}/${name}`)])
      : "Published like this it is dropped, or returned if it is mandatory."));
}

function step(vhost, visit) {
  const left = visit.bindings_total - visit.bindings.length;
  return card(`${visit.name} (${visit.type})`,
    visit.delayed && el("p", {}, "The exchange delays the message; it goes on when its time has come."),
    visit.by_chance && el("p", {}, "The exchange chooses one of its bindings by chance, each time anew."),
    visit.alternate !== null && el("p", {}, "No binding matches: it passes the message to its alternate exchange, ",
      link(exchangeName(visit.alternate), to`/exchanges/${vhost}/${visit.alternate}`), "."),
    table(`Bindings of ${visit.name}`, [
      {
        title: "To",
        cell: (one) => (one.destination_type === "queue"
          ? link(`queue ${one.destination}`, to`/queues/${vhost}/${one.destination}`)
          : link(`exchange ${one.destination}`, to`/exchanges/${vhost}/${one.destination}`)),
      },
      { title: "Routing key", cell: (one) => el("code", {}, one.routing_key) },
      { title: "Arguments", cell: (one) => argumentText(one.arguments) },
      { title: "Taken", cell: (one) => (one.matches ? tag("yes") : tag("no", "bad")) },
    ], visit.bindings, "Nothing is bound to it."),
    left > 0 && el("p", { class: "soft" }, `${count(left)} more bindings are not shown.`));
}
