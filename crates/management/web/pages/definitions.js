// Definitions: all that is declared, as a file.

import { adminNav } from "../admin.js";
import { at, get, post, vhostNames } from "../api.js";
import { ask } from "../dialog.js";
import { button, card, el, head } from "../dom.js";
import { field } from "../form.js";

export async function definitions() {
  const vhosts = await vhostNames();
  const choice = [["", "the whole broker"], ...vhosts];

  function save() {
    ask({
      title: "Export definitions", action: "Export", done: "The file is saved.",
      content: field({ label: "Of", name: "vhost", type: "select", options: choice }),
      run: async ({ vhost }) => {
        const all = await get(where(vhost));
        download(vhost ? `definitions-${vhost.replaceAll(/[^\w.-]/g, "_")}.json` : "definitions.json", all);
      },
    });
  }

  function load() {
    ask({
      title: "Import definitions",
      content: [
        field({ label: "File", name: "file", type: "file", accept: ".json,application/json", required: true }),
        field({ label: "Into", name: "vhost", type: "select", options: choice }),
        el("p", {}, "What is there stays, what is missing is made. Users and policies of the same name are replaced."),
      ],
      action: "Import", done: "Imported.",
      run: async ({ file, vhost }) => post(where(vhost), JSON.parse(await file.text())),
    });
  }

  return [
    head("Definitions"),
    adminNav("Definitions"),
    card(null,
      el("p", {}, "Users, virtual hosts, permissions, policies, limits, exchanges, queues and bindings in RabbitMQ's JSON. Messages are not in it."),
      el("div", { class: "actions" }, button("Export", save, "primary"), button("Import", load))),
  ];
}

const where = (vhost) => (vhost ? at`/definitions/${vhost}` : "/definitions");

function download(name, value) {
  const href = URL.createObjectURL(new Blob([JSON.stringify(value, null, 2)], { type: "application/json" }));
  const anchor = el("a", { href, download: name });
  document.body.append(anchor);
  anchor.click();
  anchor.remove();
  URL.revokeObjectURL(href);
}
