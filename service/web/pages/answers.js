/* Asks a model for the labels of images, and shows what it says. */

import { element } from "./elements.js";
import { ask } from "./server.js";

/* What multipart adds to a file (bytes), its name aside; more than any browser's. */
const ENVELOPE = 512;

const percent = new Intl.NumberFormat("en", { style: "percent", minimumFractionDigits: 1, maximumFractionDigits: 1 });
const plain = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const milliseconds = (span) => `${span < 10 ? span.toFixed(1) : Math.round(span)} ms`;

/* The files in as few requests as the server's limits let them be; one that no request can hold is alone. */
export function requestsOf(files, { images, body_bytes }) {
  const requests = [];
  let size = Infinity;
  for (const file of files) {
    const weight = file.size + ENVELOPE + 3 * file.name.length;
    if (size + weight > body_bytes || requests.at(-1).length >= images) {
      requests.push([]);
      size = 0;
    }
    requests.at(-1).push(file);
    size += weight;
  }
  return requests;
}

/* What the model says of each file, in order: its prediction, or why there is none; and how long it took (milliseconds). */
export async function classify(card, files, signal) {
  if (files.length === 1 && files[0].size > card.image.body_bytes) {
    const most = plain.format(card.image.body_bytes / 1e6);
    return { predictions: [{ error: `It has ${plain.format(files[0].size / 1e6)} MB; the server takes ${most} MB in a request.` }], took: "" };
  }
  const body = new FormData();
  files.forEach((file) => body.append("image", file, file.name));
  const begun = performance.now();
  try {
    const { content, headers } = await ask(`v1/models/${card.name}:classify`, { method: "POST", body, signal });
    return { predictions: content.predictions, took: told(performance.now() - begun, headers) };
  } catch (error) {
    if (signal.aborted) {
      throw error;
    }
    const sentence = error.status ? error.message : `The server cannot be asked: ${error.message}.`;
    return { predictions: files.map(() => ({ error: sentence })), took: "" };
  }
}

function told(whole, headers) {
  const inside = /\btotal;dur=([\d.]+)/.exec(headers.get("Server-Timing") ?? "")?.[1];
  return inside === undefined ? milliseconds(whole) : `${milliseconds(whole)}, ${milliseconds(Number(inside))} of it on the server`;
}

/* The prediction as bars, or the sentence that says why there is none. */
export function bars(prediction) {
  if (prediction.error !== undefined) {
    return element("p", { class: "problem", role: "alert" }, prediction.error);
  }
  const { classes } = prediction;
  if (classes.length === 0) {
    return element("p", { class: "quiet" }, "No label is likely enough.");
  }
  const scores = classes.map(({ score }) => score);
  const [least, most] = [Math.min(0, ...scores), Math.max(...scores)];
  // Scores that cannot be probabilities are shown beside one another, as the numbers that they are.
  const probable = least >= 0 && most <= 1;
  const share = (score) => (probable ? score : (score - least) / (most - least || 1));
  return element("ol", { class: "bars" }, ...classes.map(({ label, score }) => {
    const bar = element("span", { class: "bar", "aria-hidden": "true" }, element("span", { class: "full" }));
    bar.firstChild.style.inlineSize = `${100 * share(score)}%`;
    const number = probable ? percent.format(score) : plain.format(score);
    return element("li", {}, element("span", { class: "label" }, label), bar, element("span", { class: "score" }, number));
  }));
}

/* The best label in words. */
export function best(prediction) {
  if (prediction.error !== undefined) {
    return "no labels";
  }
  const [first] = prediction.classes;
  if (first === undefined) {
    return "no label is likely enough";
  }
  return `${first.label}, ${first.score >= 0 && first.score <= 1 ? percent.format(first.score) : plain.format(first.score)}`;
}
