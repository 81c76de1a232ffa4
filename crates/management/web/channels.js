// Channels as tables have them.

import { link } from "./dom.js";
import { count, rate } from "./format.js";
import { to } from "./router.js";

const moving = (key) => (one) => rate(one.message_stats?.[key]?.rate);

export const CHANNEL_COLUMNS = [
  { title: "Channel", sort: "name", cell: (one) => link(one.name, to`/channels/${one.name}`) },
  { title: "User", sort: "user", cell: (one) => one.user },
  { title: "Mode", cell: mode },
  { title: "Prefetch", number: true, sort: "prefetch_count", cell: (one) => count(one.prefetch_count) },
  { title: "Consumers", number: true, sort: "consumer_count", cell: (one) => count(one.consumer_count) },
  { title: "Unacked", number: true, sort: "messages_unacknowledged", cell: (one) => count(one.messages_unacknowledged) },
  { title: "Unconfirmed", number: true, sort: "messages_unconfirmed", cell: (one) => count(one.messages_unconfirmed) },
  { title: "Published", number: true, sort: "message_stats.publish_details.rate", cell: moving("publish_details") },
  { title: "Delivered", number: true, sort: "message_stats.deliver_get_details.rate", cell: moving("deliver_get_details") },
  { title: "Acknowledged", number: true, sort: "message_stats.ack_details.rate", cell: moving("ack_details") },
];

/** How a channel publishes. */
export function mode(one) {
  if (one.confirm) return "confirms";
  return one.transactional ? "transactions" : "";
}
