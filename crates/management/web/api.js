// The HTTP API.

/** Without it a session does not count: no page of another site can send it. */
const SESSION = { "x-leveret-session": "1" };

/** An answer other than a success, with the API's own words. */
export class ApiError extends Error {
  constructor(status, reason, isWrongLogin = false) {
    super(reason);
    this.status = status;
    this.isWrongLogin = isWrongLogin;
  }
}

/** A path with its parts encoded: at`/queues/${vhost}/${name}`. */
export function at(strings, ...parts) {
  return strings.reduce((path, text, index) => path + encodeURIComponent(parts[index - 1]) + text);
}

async function send(method, path, body, more) {
  const headers = new Headers({ ...SESSION, ...more });
  if (body !== undefined) headers.set("content-type", "application/json");
  let response;
  try {
    response = await fetch(`/api${path}`, {
      method, headers, body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new ApiError(0, "The broker does not answer.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  const status = `${response.status} ${response.statusText}`.trim();
  const text = await response.text();
  try {
    const { error, reason } = JSON.parse(text);
    const words = typeof reason === "string" ? reason : JSON.stringify(reason);
    // Spelt otherwise where the login is right and the user may not.
    return new ApiError(response.status, `${words} (${status})`, error === "not_authorized");
  } catch {
    return new ApiError(response.status, text ? `${text} (${status})` : status);
  }
}

async function json(method, path, body, headers) {
  const response = await send(method, path, body, headers);
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

export const get = (path) => json("GET", path);
/** As `get`, and how many queues are left to be looked through. */
export async function getSome(path) {
  const response = await send("GET", path);
  return [await response.json(), Number(response.headers.get("leveret-queues-left") ?? 0)];
}

export const put = (path, body = {}) => json("PUT", path, body);
export const post = (path, body = {}) => json("POST", path, body);
export const remove = (path, headers) => json("DELETE", path, undefined, headers);

/** Calls `on` with the name and the data of each server-sent event, until the signal or the broker ends it. */
export async function events(path, signal, on) {
  const response = await fetch(`/api${path}`, { headers: SESSION, signal });
  if (!response.ok) throw await refusal(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const found = part.match(/^event: (.*)\ndata: (.*)$/);
      if (found) on(found[1], JSON.parse(found[2]));
    }
  }
}

/** The names of the vhosts that the user sees. */
export async function vhostNames() {
  const vhosts = await get("/vhosts?columns=name");
  return vhosts.map((vhost) => vhost.name);
}
