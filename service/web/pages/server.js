/* What is asked of the server, with the reader's key where it wants one. */

/* The server's root, wherever a proxy has put it. */
const ROOT = new URL("..", import.meta.url);

/* Kept here alone, and so no longer than the page is open. */
let key = null;

export class Refused extends Error {
  constructor(status, sentence) {
    super(sentence);
    this.status = status;
  }
}

export const at = (path) => new URL(path, ROOT).href;
export const hasKey = () => key !== null;

export function useKey(given) {
  key = given;
}

/* The answer's JSON and headers. Throws Refused with the server's own sentence. */
export async function ask(path, options = {}) {
  const headers = new Headers(options.headers);
  if (key !== null) {
    headers.set("Authorization", `Bearer ${key}`);
  }
  const answer = await fetch(at(path), { ...options, headers, credentials: "omit", redirect: "error", cache: "no-store" });
  const content = await answer.json().catch(() => null);
  if (!answer.ok) {
    throw new Refused(answer.status, content?.error || `The server answered ${answer.status}.`);
  }
  return { content, headers: answer.headers };
}
