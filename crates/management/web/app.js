// The start: the login, the navigation, the pages there are.

import { el } from "./dom.js";
import { field, values } from "./form.js";
import { failed } from "./notice.js";
import { navigate, route, start, stop } from "./router.js";
import { currentUser, logIn, logOut, may, resume } from "./session.js";
import { alerts } from "./pages/alerts.js";
import { channel } from "./pages/channel.js";
import { channels } from "./pages/channels.js";
import { connection } from "./pages/connection.js";
import { connections } from "./pages/connections.js";
import { deadLetterQueue } from "./pages/dead_letter_queue.js";
import { deadLetters } from "./pages/dead_letters.js";
import { definitions } from "./pages/definitions.js";
import { exchange } from "./pages/exchange.js";
import { exchanges } from "./pages/exchanges.js";
import { features } from "./pages/features.js";
import { map } from "./pages/map.js";
import { messages } from "./pages/messages.js";
import { overview } from "./pages/overview.js";
import { policies } from "./pages/policies.js";
import { queue } from "./pages/queue.js";
import { queues } from "./pages/queues.js";
import { routeTester } from "./pages/route.js";
import { tail } from "./pages/tail.js";
import { user } from "./pages/user.js";
import { users } from "./pages/users.js";
import { vhost } from "./pages/vhost.js";
import { vhosts } from "./pages/vhosts.js";

// By name, with who may see them where that is not everybody.
const SECTIONS = [
  ["Overview", "#/"],
  ["Queues", "#/queues"],
  ["Exchanges", "#/exchanges"],
  ["Dead letters", "#/dead-letters"],
  ["Alerts", "#/alerts", () => may.monitor()],
  ["Map", "#/map"],
  ["Routes", "#/routes"],
  ["Connections", "#/connections"],
  ["Channels", "#/channels"],
  ["Admin", "#/admin"],
];

route("/", overview);
route("/queues", queues);
route("/queues/:vhost/:name", queue);
route("/queues/:vhost/:name/messages", messages);
route("/queues/:vhost/:name/tail", (page) => tail(page, "queue"));
route("/exchanges", exchanges);
route("/exchanges/:vhost/:name", exchange);
route("/exchanges/:vhost/:name/tail", (page) => tail(page, "exchange"));
route("/dead-letters", deadLetters);
route("/dead-letters/:vhost/:name", deadLetterQueue);
route("/alerts", alerts);
route("/map", map);
route("/routes", routeTester);
route("/connections", connections);
route("/connections/:name", connection);
route("/channels", channels);
route("/channels/:name", channel);
route("/admin", vhosts);
route("/admin/vhosts/:name", vhost);
route("/admin/users", users);
route("/admin/users/:name", user);
route("/admin/policies", policies);
route("/admin/features", features);
route("/admin/definitions", definitions);

const bar = document.getElementById("bar");
const main = document.getElementById("main");
const who = document.getElementById("who");

function showLogin(error) {
  stop();
  who.textContent = "";
  bar.hidden = true;
  document.title = "Log in · Leveret";
  const form = el("form", { class: "card login", onsubmit: submitLogin },
    el("img", { src: "/web/icon.svg", alt: "", width: 48, height: 48 }),
    el("h1", {}, "Leveret"),
    el("p", { class: "soft" }, "Log in with a user of the broker."),
    error && failed(error),
    field({ name: "user", label: "User", required: true, autocomplete: "username" }),
    field({ name: "password", label: "Password", type: "password", autocomplete: "current-password" }),
    el("button", { class: "primary" }, "Log in"));
  main.replaceChildren(form);
  main.removeAttribute("aria-busy");
  form.elements.user.focus();
}

async function submitLogin(event) {
  event.preventDefault();
  const { user = "", password = "" } = values(event.target);
  await enter(() => logIn(user, password));
}

/** Shows the pages to the user that `find` finds, or has them log in. */
async function enter(find) {
  try {
    if (!await find()) {
      showLogin();
      return;
    }
  } catch (error) {
    showLogin(error);
    return;
  }
  who.textContent = currentUser().name;
  document.getElementById("nav").replaceChildren(
    ...SECTIONS.filter(([, , isPermitted]) => isPermitted?.() ?? true).map(([text, href]) => el("a", { href }, text)));
  bar.hidden = false;
  navigate();
}

document.getElementById("logout").addEventListener("click", async () => {
  stop();
  try {
    await logOut();
  } catch (error) {
    showLogin(error);
    return;
  }
  history.replaceState(null, "", "#/");
  showLogin();
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
start(showLogin);
enter(resume);
