// A message as pages show it.

import { el, facts, tag } from "./dom.js";
import { bytes, exchangeName, plain, time } from "./format.js";
import { readable } from "./payload.js";

/**
 * A message that opens when it is asked for. `form` is how its body is shown; `label` what stands in
 * front; `more` what follows, such as buttons.
 */
export function messageItem(one, { form = "auto", label = `#${one.position}`, more = [], open = false } = {}) {
  const body = el("div");
  const preview = el("span", { class: "preview" });
  const item = el("details", { class: "message", open },
    el("summary", {},
      el("b", {}, label), " ", tag(one.routing_key || "(no key)"), one.redelivered && tag("redelivered"),
      tag(bytes(one.payload_bytes)), preview),
    facts(properties(one)), body, more.length > 0 && el("div", { class: "actions" }, more));
  readable(one, form).then(({ text, note }) => {
    preview.textContent = text.replaceAll(/\s+/g, " ").slice(0, 120);
    const isCut = payloadLength(one) < one.payload_bytes;
    body.replaceChildren(
      el("p", { class: "soft" }, `${note}${isCut ? `; the first ${bytes(payloadLength(one))} of it` : ""}`),
      el("pre", { tabindex: "0", "aria-label": "Body" }, text));
  });
  return item;
}

function payloadLength({ payload, payload_encoding: encoding }) {
  if (encoding !== "base64") return new TextEncoder().encode(payload).length;
  return Math.floor(payload.length / 4) * 3 - (payload.match(/=*$/)[0].length);
}

/** What a message has besides its body. */
function properties(one) {
  const { headers = {}, ...others } = one.properties;
  const pairs = (prefix, all) => Object.entries(all).map(([name, value]) => [prefix + name, plain(value)]);
  return [
    ["Exchange", exchangeName(one.exchange)], ["Routing key", one.routing_key],
    ["Arrived", time(one.arrived_at)], ["Expires", one.expires_at && time(one.expires_at)],
    ["Came back", one.delivery_count ? `${one.delivery_count} times` : null],
    ...pairs("", others), ...pairs("header ", headers),
  ];
}
