// All virtual hosts, and a new one.

import { adminNav } from "../admin.js";
import { at, get, put } from "../api.js";
import { ask } from "../dialog.js";
import { button, card, el, head, link, tag } from "../dom.js";
import { field } from "../form.js";
import { count, rate } from "../format.js";
import { to } from "../router.js";
import { may } from "../session.js";
import { table } from "../table.js";

const COLUMNS = [
  { title: "Name", cell: (one) => (may.administer() ? link(one.name, to`/admin/vhosts/${one.name}`) : one.name) },
  { title: "Ready", number: true, cell: (one) => count(one.messages_ready) },
  { title: "Unacked", number: true, cell: (one) => count(one.messages_unacknowledged) },
  { title: "Published", number: true, cell: (one) => rate(one.message_stats?.publish_details?.rate) },
  { title: "Delivered", number: true, cell: (one) => rate(one.message_stats?.deliver_get_details?.rate) },
  { title: "Queue type", cell: (one) => one.default_queue_type },
  { title: "Description", cell: (one) => one.description },
  { title: "Tags", cell: (one) => [
    one.tags.map((text) => tag(text)), one.tracing && tag("traced"), one.protected_from_deletion && tag("protected"),
  ].flat().filter(Boolean) },
];

export async function vhosts(page) {
  const list = el("div");
  async function load() {
    list.replaceChildren(table("Virtual hosts", COLUMNS, await get("/vhosts")));
  }
  page.refreshing(load);
  await load();
  const actions = may.administer() ? [button("New virtual host", create, "primary")] : [];
  return [head("Virtual hosts", { actions }), adminNav("Virtual hosts"), card(null, list)];
}

function create() {
  ask({
    title: "New virtual host",
    content: [field({ name: "name", label: "Name", required: true }), ...vhostFields({})],
    action: "Create",
    done: "The virtual host is there.",
    run: (entered) => put(at`/vhosts/${entered.name}`, vhostBody(entered)),
  });
}

/** What is said of a vhost. */
export function vhostFields({ description, default_queue_type: type = "classic", tags = [], tracing = false }) {
  return [
    field({ name: "description", label: "Description", value: description }),
    field({ name: "type", label: "Queues are, unless they say otherwise", type: "select", options: ["classic", "quorum", "stream"], value: type }),
    field({ name: "tags", label: "Tags", value: tags.join(", "), hint: "With commas between them." }),
    field({ name: "tracing", label: "Trace: publish all that goes through once more", type: "checkbox", checked: tracing }),
  ];
}

export function vhostBody({ description = "", type, tags = "", tracing }) {
  return {
    description, tracing, default_queue_type: type,
    tags: tags.split(",").map((text) => text.trim()).filter(Boolean).join(","),
  };
}
