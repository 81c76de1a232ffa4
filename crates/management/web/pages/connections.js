// All connections.

import { at } from "../api.js";
import { head, link } from "../dom.js";
import { bytes, count, time } from "../format.js";
import { to } from "../router.js";
import { liveTable } from "../table.js";

const perSecond = (details) => (details ? `${bytes(details.rate)}/s` : "");

const COLUMNS = [
  { title: "Name", sort: "name", cell: (one) => link(one.user_provided_name ?? one.name, to`/connections/${one.name}`) },
  { title: "User", sort: "user", cell: (one) => one.user },
  { title: "State", sort: "state", cell: (one) => one.state },
  { title: "Channels", number: true, sort: "channels", cell: (one) => count(one.channels) },
  { title: "From client", number: true, sort: "recv_oct_details.rate", cell: (one) => perSecond(one.recv_oct_details) },
  { title: "To client", number: true, sort: "send_oct_details.rate", cell: (one) => perSecond(one.send_oct_details) },
  { title: "Virtual host", sort: "vhost", cell: (one) => one.vhost },
  { title: "Client", cell: clientText },
  { title: "Since", sort: "connected_at", cell: (one) => time(one.connected_at) },
];

export async function connections(page) {
  const list = await liveTable(page, {
    caption: "Connections", path: "/connections", columns: COLUMNS, empty: "No connections.",
    inVhost: (vhost) => at`/vhosts/${vhost}/connections`,
  });
  return [head("Connections"), list];
}

/** What a client says it is. */
export function clientText({ client_properties: own = {} }) {
  return [own.product, own.version].filter((part) => typeof part === "string").join(" ");
}
