// Fields with their labels, and what has been entered.

import { el } from "./dom.js";

let last = 0;

/**
 * A field with its label. `type` is an input's, or `select` (with `options`, texts or pairs of value
 * and text), `textarea` or `checkbox`; everything else is set on the control.
 */
export function field({ label, hint, type = "text", options = [], ...rest }) {
  last += 1;
  const id = `field-${last}`;
  const described = hint ? { "aria-describedby": `${id}-hint` } : {};
  const attributes = { id, ...rest, ...described };
  let control;
  if (type === "select") {
    const { value, ...without } = attributes;
    control = el("select", without, options.map((option) => {
      const [own, text] = Array.isArray(option) ? option : [option, option];
      return el("option", { value: own, selected: own === value }, text);
    }));
  } else if (type === "textarea") {
    control = el("textarea", { spellcheck: "false", ...attributes });
  } else {
    control = el("input", { type, autocapitalize: "off", spellcheck: "false", autocomplete: "off", ...attributes });
  }
  const text = el("label", { for: id }, label);
  const note = hint && el("span", { class: "hint", id: `${id}-hint` }, hint);
  return type === "checkbox"
    ? el("div", { class: "field check" }, control, text, note)
    : el("div", { class: "field" }, text, control, note);
}

/** What a form holds, by name: numbers as such, empty fields left out. */
export function values(form) {
  const result = {};
  for (const control of form.elements) {
    if (!control.name) continue;
    if (control.type === "checkbox") result[control.name] = control.checked;
    else if (control.type === "file") result[control.name] = control.files[0];
    else if (control.value !== "") {
      result[control.name] = control.type === "number" ? Number(control.value) : control.value;
    }
  }
  return result;
}

/** Lines of `name = value`; a value that is JSON is taken as such, any other as text. */
export function table(text = "") {
  const lines = text.split("\n").map((line) => line.trim()).filter(Boolean);
  return Object.fromEntries(lines.map((line) => {
    const at = line.indexOf("=");
    if (at < 1) throw new Error(`"${line}" is not of the form: name = value`);
    return [line.slice(0, at).trim(), value(line.slice(at + 1).trim())];
  }));
}

function value(text) {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

export const TABLE_HINT = "One a line: name = value. Numbers, true, false and JSON are taken as such.";
