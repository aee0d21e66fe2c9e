/* Images that are chosen, dropped anywhere on the page, or pasted: each is shown with its labels. */

import { bars, best, classify, requestsOf } from "./answers.js";
import { element } from "./elements.js";

/* How many answers stay on the page. */
const MOST = 100;

/* The place for them, and the list of answers. */
export function images(card, signal) {
  const input = element("input", { type: "file", id: "files", multiple: true, accept: "image/*", class: "hidden" });
  const zone = element("label", { for: "files", class: "zone" },
    element("strong", {}, "Drop images here"), element("span", {}, "or choose some, or paste one"));
  const status = element("p", { class: "status", role: "status" });
  const answers = element("ul", { class: "answers", "aria-label": "Images and their labels" });

  /* One after another, so that many images take no more of the server than few. */
  let before = Promise.resolve();
  const take = (files) => {
    if (files.length > 0) {
      before = before.then(() => run(card, [...files], answers, status, signal)).catch((error) => signal.aborted || reportError(error));
    }
  };
  input.addEventListener("change", () => {
    take([...input.files]);
    input.value = "";  // so that the same file can be chosen again
  });
  let over = 0;
  const hover = (by) => {
    over = Math.max(0, over + by);
    zone.classList.toggle("over", over > 0);
  };
  const holdsFiles = (event) => event.dataTransfer?.types.includes("Files");
  const listen = (name, act) => document.addEventListener(name, act, { signal });
  listen("dragenter", (event) => holdsFiles(event) && hover(1));
  listen("dragleave", (event) => holdsFiles(event) && hover(-1));
  listen("dragover", (event) => holdsFiles(event) && event.preventDefault());
  listen("drop", (event) => {
    if (holdsFiles(event)) {
      event.preventDefault();  // a browser would show the image in place of the page
      over = 0;
      hover(0);
      take(event.dataTransfer.files);
    }
  });
  listen("paste", (event) => {
    const { files } = event.clipboardData;
    if (files.length > 0) {
      event.preventDefault();
      take(files);
    }
  });
  return [element("div", {}, input, zone, status), answers];
}

async function run(card, files, answers, status, signal) {
  for (const request of requestsOf(files, card.image)) {
    status.textContent = request.length > 1 ? `Asking about ${request.length} images…` : `Asking about ${request[0].name}…`;
    const { predictions, took } = await classify(card, request, signal);
    answers.prepend(...request.map((file, index) => answered(file, predictions[index])));
    while (answers.childElementCount > MOST) {
      answers.lastChild.remove();
    }
    const said = request.length > 1 ? `${request.length} images` : `${request[0].name}: ${best(predictions[0])}`;
    status.textContent = took === "" ? said : `${said} · ${took}`;
  }
}

function answered(file, prediction) {
  const size = prediction.width === undefined ? "" : `${prediction.width} × ${prediction.height}`;
  const about = element("p", {}, element("strong", {}, file.name), element("span", { class: "quiet" }, size));
  return element("li", {}, seen(file), element("div", {}, about, bars(prediction)));
}

/* The image in small; nothing where the browser cannot show what the model can. */
function seen(file) {
  const address = URL.createObjectURL(file);
  const shown = element("img", { alt: "", class: "seen" });
  const frame = element("div", { class: "frame" }, shown);
  const forget = () => URL.revokeObjectURL(address);
  shown.addEventListener("load", forget, { once: true });
  shown.addEventListener("error", () => {
    forget();
    shown.remove();
  }, { once: true });
  shown.src = address;
  return frame;
}
