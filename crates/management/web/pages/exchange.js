// One exchange.

import { at, get, remove } from "../api.js";
import { bindFrom, bindingTable, bindTo } from "../bindings.js";
import { chart } from "../chart.js";
import { ask } from "../dialog.js";
import { button, card, el, facts, head } from "../dom.js";
import { field } from "../form.js";
import { exchangeName, plain, rate } from "../format.js";
import { publish } from "../publish.js";
import { go, to } from "../router.js";
import { may, mayEnter } from "../session.js";
import { exchangeFeatures } from "./exchanges.js";

export async function exchange(page) {
  const { vhost, name } = page.parameters;
  const here = at`/exchanges/${vhost}/${name || "amq.default"}`;
  const rates = chart({
    key: `exchange ${vhost}/${name}`, title: "Message rates", names: ["In", "Out"], format: rate,
  });
  const about = el("div");
  const isDefault = name === "";
  const enters = await mayEnter(vhost);

  async function load() {
    const one = await get(here);
    rates.add(["publish_in_details", "publish_out_details"].map((key) => one.message_stats?.[key]?.rate));
    about.replaceChildren(facts([
      ["Type", one.type], ["Features", exchangeFeatures(one)], ["Policy", one.policy],
      ...Object.entries(one.arguments).map(([key, value]) => [key, plain(value)]),
    ]));
  }

  page.refreshing(load);
  await load();
  const bindings = isDefault
    ? [card("Bindings from here", el("p", { class: "soft" }, "Every queue is bound to the default exchange, by its own name."))]
    : [
      await bindingTable(page, { title: "Bindings from here", direction: "from", vhost, name, mayUnbind: enters }),
      await bindingTable(page, { title: "Bindings to here", direction: "to-exchange", vhost, name, mayUnbind: enters }),
    ];
  return [
    head(exchangeName(name), {
      crumb: { text: `Exchanges · ${vhost}`, href: "#/exchanges" },
      actions: [
        enters && button("Publish", () => publish({ vhost, exchange: name })),
        ...(may.monitor() ? [el("a", { class: "button", href: to`/exchanges/${vhost}/${name}/tail` }, "Watch")] : []),
        ...(isDefault || !enters ? [] : [
          button("Bind from here", () => bindFrom({ vhost, exchange: name })),
          button("Bind to here", () => bindTo({ vhost, kind: "exchange", name })),
        ]),
        ...(isDefault || !enters || name.startsWith("amq.") ? [] : [button("Delete", () => deleteExchange(here, name), "danger")]),
      ].filter(Boolean),
    }),
    el("div", { class: "cards" }, card("About", about), rates.element),
    ...bindings,
  ];
}

function deleteExchange(here, name) {
  ask({
    title: `Delete ${name}?`,
    content: [
      el("p", {}, "The exchange goes with its bindings. Who publishes to it is refused."),
      field({ name: "unused", label: "Only if nothing is bound to it", type: "checkbox" }),
    ],
    action: "Delete", kind: "danger", done: "The exchange is gone.",
    run: async ({ unused }) => {
      await remove(`${here}?if-unused=${unused}`);
      go("/exchanges");
    },
  });
}
