"use strict";

const DOCUMENT = "openapi.json";
/* Where the key is kept: for this tab, and no longer than it is open. It never stands in an address. */
const KEPT = "tureen-key";
const [door, inside, key, problem] = ["door", "inside", "key", "problem"].map((id) => document.getElementById(id));

async function enter(given) {
  const headers = given === null ? {} : { Authorization: `Bearer ${given}` };
  const answer = await fetch(DOCUMENT, { headers, credentials: "omit", redirect: "error" });
  if (answer.ok) {
    return show(await answer.json(), given);
  }
  sessionStorage.removeItem(KEPT);
  door.hidden = false;
  key.focus();
  if (given !== null || answer.status !== 401) {
    const told = await answer.json().catch(() => ({}));
    problem.textContent = answer.status === 401 ? "The server does not know this key." : told.error || `The server answered ${answer.status}.`;
  }
}

function show(spec, given) {
  if (given !== null) {
    sessionStorage.setItem(KEPT, given);
    key.value = "";
    inside.hidden = false;
  }
  door.hidden = true;
  const page = SwaggerUIBundle({
    spec,
    dom_id: "#viewer",
    deepLinking: true,
    docExpansion: "list",
    displayRequestDuration: true,
    filter: true,
    tryItOutEnabled: true,
    defaultModelsExpandDepth: -1,
    /* Its default sends the document to another host to be checked. */
    validatorUrl: null,
    persistAuthorization: false,
    requestInterceptor: (request) => {
      /* A request with two credentials is refused; the one that was filled in beside this tab's own counts. */
      if (request.headers["X-API-Key"]) {
        delete request.headers.Authorization;
      }
      return request;
    },
    onComplete: () => {
      if (given === null) {
        page.specActions.updateUrl(DOCUMENT);
      } else {
        page.preauthorizeApiKey("bearer", given);
      }
    },
  });
}

function attempt(given) {
  enter(given).catch((error) => {
    door.hidden = false;
    problem.textContent = `The document cannot be had: ${error.message}.`;
  });
}

door.addEventListener("submit", (event) => {
  event.preventDefault();
  problem.textContent = "";
  attempt(key.value.trim());
});
document.getElementById("forget").addEventListener("click", () => {
  sessionStorage.removeItem(KEPT);
  location.reload();
});
attempt(sessionStorage.getItem(KEPT));
