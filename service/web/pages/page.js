/* The one page: a list of models at the server's root, a model at models/M. A key that was given stays while its reader goes
   from one to the other, for the page is never left. */

import { modelCard } from "./card.js";
import { element } from "./elements.js";
import { ask, at, hasKey, useKey } from "./server.js";

const [door, key, problem, view, home, main] = ["door", "key", "problem", "view", "home", "main"].map((id) => document.getElementById(id));

/* What is shown stops with this, when something else is. */
let shown = new AbortController();

const model = () => /\/models\/([^/]+)$/.exec(location.pathname)?.[1] ?? null;

async function show() {
  shown.abort();
  shown = new AbortController();
  const { signal } = shown;
  const name = model();
  document.title = name === null ? "Tureen" : `${name} · Tureen`;
  try {
    const made = name === null ? await list() : await modelCard((await ask(`models/${name}/card`)).content, signal);
    if (!signal.aborted) {
      door.hidden = true;
      key.value = problem.textContent = "";
      view.replaceChildren(made);
    }
  } catch (error) {
    if (!signal.aborted) {
      fail(error);
    }
  }
}

function fail(error) {
  if (error.status !== 401) {
    door.hidden = true;
    const sentence = error.status ? error.message : `The server cannot be asked: ${error.message}.`;
    view.replaceChildren(element("p", { class: "problem", role: "alert" }, sentence), element("p", {}, link(".", "All models")));
    return;
  }
  view.replaceChildren();
  problem.textContent = hasKey() ? "The server does not know this key." : "";
  useKey(null);
  door.hidden = false;
  key.focus();
}

async function list() {
  const { content } = await ask("v2/repository/index", { method: "POST" });
  const rows = [...new Set(content.map((entry) => entry.name))].map((name) => {
    const entries = content.filter((entry) => entry.name === name);
    const ready = entries.filter((entry) => entry.state === "READY").map((entry) => entry.version);
    const told = ready.length === 0 ? "does not answer" : `${ready.length === 1 ? "version" : "versions"} ${ready.join(", ")}`;
    return element("li", {}, link(`models/${name}`, name), element("span", { class: "quiet" }, told));
  });
  return rows.length > 0
    ? element("div", {}, element("h1", {}, "Models"), element("ul", { class: "models" }, ...rows))
    : element("div", {}, element("h1", {}, "Models"), element("p", {}, "There is none here yet that you may use."));
}

const link = (path, text) => element("a", { href: at(path), click: go }, text);

/* To another of these pages without leaving this one, unless a tab or a window of its own is wanted. */
function go(event) {
  if (event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) {
    return;
  }
  event.preventDefault();
  history.pushState(null, "", event.currentTarget.href);
  main.focus();
  show();
}

// What these lead to is said from where the page was loaded, and its address will change.
document.querySelectorAll("header a, link[rel=icon]").forEach((each) => each.setAttribute("href", each.href));
home.addEventListener("click", go);
addEventListener("popstate", show);
door.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = key.value.trim();
  // A header can hold nothing else, and no key does.
  if (/^[!-~]+$/.test(given)) {
    useKey(given);
    show();
  } else {
    problem.textContent = "The server does not know this key.";
  }
});
show();
