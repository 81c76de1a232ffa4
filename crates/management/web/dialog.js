// Questions: a form to fill in, or an action to confirm.

import { button, el } from "./dom.js";
import { values } from "./form.js";
import { failed, say } from "./notice.js";
import { refresh } from "./router.js";

let last = 0;

/**
 * Asks, and carries out: `run` gets what was entered. When it fails the dialog stays open and shows
 * why; when it is done, `done` is said and the page fetches anew.
 */
export function ask({ title, content = [], action, kind = "primary", done, run }) {
  last += 1;
  const id = `dialog-${last}`;
  const errors = el("div");
  const submit = el("button", { class: kind }, action);
  const form = el("form", { onsubmit: carryOut },
    el("h2", { id }, title), content, errors,
    el("div", { class: "actions" }, button("Cancel", () => dialog.close()), submit));
  const dialog = el("dialog", { "aria-labelledby": id, onclose: () => dialog.remove() }, form);

  async function carryOut(event) {
    event.preventDefault();
    submit.disabled = true;
    errors.replaceChildren();
    try {
      const result = await run(values(form));
      dialog.close();
      const text = typeof done === "function" ? done(result) : done;
      if (text) say(text);
      await refresh();
    } catch (error) {
      errors.replaceChildren(failed(error));
    } finally {
      submit.disabled = false;
    }
  }

  document.body.append(dialog);
  dialog.showModal();
}

/** Asks before something that can't be undone. */
export function confirm({ title, text, action, done, run }) {
  ask({ title, content: el("p", {}, text), action, kind: "danger", done, run });
}
