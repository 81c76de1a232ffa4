// Elements. What is given as text becomes text: no name a client chose is ever read as HTML.

const SVG = "http://www.w3.org/2000/svg";

/** An element. Properties that begin with `on` are listeners; `true` sets an attribute without a value. */
export function el(name, properties = {}, ...children) {
  return fill(document.createElement(name), properties, children);
}

/** An element of SVG. */
export function svg(name, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, name), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "value" && "value" in element) element.value = value;
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value != null) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

export function link(text, href) {
  return el("a", { href }, text);
}

export function button(text, onclick, kind = "") {
  return el("button", { type: "button", class: kind || null, onclick }, text);
}

export function card(title, ...children) {
  return el("section", { class: "card" }, title && el("h2", {}, title), ...children);
}

/** The title of a page, the way back to its list, and what can be done. */
export function head(title, { crumb, actions = [] } = {}) {
  return el("div", { class: "head" },
    el("div", {},
      crumb && el("p", { class: "crumb" }, link(crumb.text, crumb.href)),
      el("h1", { tabindex: "-1" }, title)),
    actions.length > 0 && el("div", { class: "actions" }, ...actions));
}

/** Names and values; those without a value are left out. */
export function facts(pairs) {
  return list("facts", pairs);
}

export function figures(pairs) {
  return list("figures", pairs);
}

function list(kind, pairs) {
  const shown = pairs.filter(([, value]) => value != null && value !== "" && value?.length !== 0);
  return el("dl", { class: kind },
    shown.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

export function tag(text, kind = "") {
  return el("span", { class: `tag ${kind}`.trim() }, text);
}
