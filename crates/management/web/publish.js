// Publishing one message through an exchange.

import { at, post } from "./api.js";
import { ask } from "./dialog.js";
import { el } from "./dom.js";
import { field, table, TABLE_HINT } from "./form.js";

/** Asks for a message; with a `key` given it goes there. The default exchange is called "". */
export function publish({ vhost, exchange, key }) {
  ask({
    title: key === undefined ? `Publish to ${exchange || "the default exchange"}` : `Publish to ${key}`,
    content: [
      key === undefined && field({ name: "key", label: "Routing key" }),
      field({ name: "payload", label: "Body", type: "textarea" }),
      field({
        name: "encoding", label: "The body is", type: "select",
        options: [["string", "text"], ["base64", "base64, of any bytes"]],
      }),
      field({ name: "persistent", label: "Persistent", type: "checkbox", checked: true }),
      el("details", {}, el("summary", {}, "Headers and properties"),
        field({ name: "headers", label: "Headers", type: "textarea", hint: TABLE_HINT }),
        field({
          name: "properties", label: "Properties", type: "textarea",
          hint: "The same way: content_type, correlation_id, reply_to, expiration, message_id, priority, type.",
        })),
    ],
    action: "Publish",
    done: ({ routed }) => (routed ? "Published and routed." : "Published, but no queue took it."),
    run: (entered) => post(at`/exchanges/${vhost}/${exchange || "amq.default"}/publish`, {
      routing_key: key ?? entered.key ?? "",
      payload: entered.payload ?? "",
      payload_encoding: entered.encoding,
      properties: {
        ...texts(table(entered.properties)),
        delivery_mode: entered.persistent ? 2 : 1,
        headers: table(entered.headers),
      },
    }),
  });
}

/** Properties are text, but for the numbers among them. */
function texts(properties) {
  const numbers = ["priority", "timestamp"];
  return Object.fromEntries(Object.entries(properties).map(([name, value]) => (
    [name, numbers.includes(name) ? value : typeof value === "string" ? value : JSON.stringify(value)]
  )));
}
