// Who has logged in. The session is a cookie that only the browser and the broker can read.

import { at, get, post, remove } from "./api.js";

let user = null;

/** The user of the session that is open in this browser; null if there is none. */
export async function resume() {
  return setUser(await get("/leveret/session"));
}

export async function logIn(name, password) {
  return setUser(await post("/leveret/session", { name, password }));
}

export async function logOut() {
  user = null;
  await remove("/leveret/session");
}

/** What `/api/whoami` says of the user, or null. */
function setUser(whoami) {
  user = whoami && { name: whoami.name, tags: whoami.tags };
  return user;
}

export function currentUser() {
  return user;
}

const isAdministrator = () => user?.tags.includes("administrator") ?? false;

/** What the user's tags permit; the API has the last word. */
export const may = {
  administer: isAdministrator,
  monitor: () => isAdministrator() || (user?.tags.includes("monitoring") ?? false),
  closeConnectionsOf: (owner) => isAdministrator() || user?.name === owner,
  makePolicies: () => isAdministrator() || (user?.tags.includes("policymaker") ?? false),
};

/**
 * Whether the user may do what clients do in a vhost they see. An administrator sees all, and needs a permission for
 * that as anybody does; others see those only that they may enter.
 */
export async function mayEnter(vhost) {
  return !isAdministrator() || (await get(at`/leveret/entry/${vhost}`)).may_enter;
}
