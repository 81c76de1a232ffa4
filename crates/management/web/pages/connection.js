// One connection.

import { at, get, remove } from "../api.js";
import { CHANNEL_COLUMNS } from "../channels.js";
import { chart } from "../chart.js";
import { ask } from "../dialog.js";
import { button, card, el, facts, head } from "../dom.js";
import { field } from "../form.js";
import { bytes, plain, time } from "../format.js";
import { go } from "../router.js";
import { may } from "../session.js";
import { table } from "../table.js";

export async function connection(page) {
  const { name } = page.parameters;
  const here = at`/connections/${name}`;
  const traffic = chart({
    key: `connection ${name}`, title: "Traffic", names: ["From client", "To client"],
    format: (value) => `${bytes(value)}/s`,
  });
  const [about, client, channels] = [el("div"), el("div"), el("div")];
  let owner;

  async function load() {
    const [one, all] = await Promise.all([get(here), get(`${here}/channels`)]);
    owner = one.user;
    traffic.add([one.recv_oct_details?.rate, one.send_oct_details?.rate]);
    about.replaceChildren(facts([
      ["User", one.user], ["Virtual host", one.vhost], ["State", one.state],
      ["Since", time(one.connected_at)], ["Protocol", one.protocol], ["Login", one.auth_mechanism],
      ["From", `${one.peer_host} port ${one.peer_port}`], ["To", `${one.host} port ${one.port}`],
      ["TLS", one.ssl ? one.ssl_protocol : "no"],
      ["Heartbeat", one.timeout ? `${one.timeout} s` : "none"],
      ["Longest frame", bytes(one.frame_max)], ["Most channels", one.channel_max],
      ["Received", bytes(one.recv_oct)], ["Sent", bytes(one.send_oct)], ["Waiting to be sent", bytes(one.send_pend)],
    ]));
    client.replaceChildren(facts(Object.entries(one.client_properties ?? {}).map(([key, value]) => [key, plain(value)])));
    channels.replaceChildren(table("Channels", CHANNEL_COLUMNS, all, "No channels."));
  }

  page.refreshing(load);
  await load();
  return [
    head(name, {
      crumb: { text: "Connections", href: "#/connections" },
      actions: may.closeConnectionsOf(owner) ? [button("Close", close, "danger")] : [],
    }),
    el("div", { class: "cards" }, card("About", about), card("Client", client), traffic.element),
    card("Channels", channels),
  ];

  function close() {
    ask({
      title: "Close this connection?",
      content: [
        el("p", {}, "The client is told why. What it had not acknowledged goes back to the queues; most clients connect again."),
        field({ name: "reason", label: "Reason" }),
      ],
      action: "Close", kind: "danger", done: "The connection is closed.",
      run: async ({ reason }) => {
        await remove(here, reason ? { "x-reason": reason } : {});
        go("/connections");
      },
    });
  }
}
