// Who has logged in. The login is kept for as long as the tab is open.

const KEY = "leveret.login";

let user = null;

export function login() {
  return sessionStorage.getItem(KEY);
}

export function keepLogin(name, password) {
  const bytes = new TextEncoder().encode(`${name}:${password}`);
  sessionStorage.setItem(KEY, `Basic ${btoa(String.fromCharCode(...bytes))}`);
}

export function forgetLogin() {
  sessionStorage.removeItem(KEY);
  user = null;
}

/** What `/api/whoami` says of the user. */
export function setUser(whoami) {
  const tags = Array.isArray(whoami.tags) ? whoami.tags : String(whoami.tags).split(",");
  user = { name: whoami.name, tags };
}

export function currentUser() {
  return user;
}

const isAdministrator = () => user?.tags.includes("administrator") ?? false;

/** What the user's tags permit; the API has the last word. */
export const may = {
  administer: isAdministrator,
  monitor: () => isAdministrator() || (user?.tags.includes("monitoring") ?? false),
  makePolicies: () => isAdministrator() || (user?.tags.includes("policymaker") ?? false),
};
