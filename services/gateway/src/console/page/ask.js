// How the gateway is asked. The token stays in this module.

let shown = "";

export const token = {
  set(text) {
    shown = text;
  },
};

const LIMIT = 8000;

/** The answer to a question about the caches; an error says why there is none. */
export async function ask(path, { body, signal } = {}) {
  const limit = AbortSignal.timeout(LIMIT);
  const response = await open(path, { body, signal: signal ? AbortSignal.any([signal, limit]) : limit });
  return response.json();
}

/** The response, whose body may come for as long as it likes. */
export async function open(path, { body, signal } = {}) {
  const headers = {};
  if (shown) headers.authorization = `Bearer ${shown}`;
  // No form of another site can send this.
  if (body) headers["larder-console"] = "1";
  const response = await fetch(`/console/${path}`, {
    method: body ? "POST" : "GET",
    headers,
    body: body && JSON.stringify(body),
    signal,
    cache: "no-store",
    redirect: "error",
  });
  if (response.ok) return response;
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? `status ${response.status}`);
  error.refused = response.status === 401 || response.status === 403;
  throw error;
}
