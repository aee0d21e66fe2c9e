/* A model: a place to try it with images where it takes some, then what it is and how it is asked. */

import { drawing } from "./drawing.js";
import { element, section, table } from "./elements.js";
import { images } from "./images.js";
import { at, hasKey } from "./server.js";

/* The element that shows the card; what it started ends with the signal. */
export function modelCard(card, signal) {
  const newest = card.newest === null ? "no version answers" : `version ${card.newest} · ${card.platform}`;
  const heading = element("div", { class: "heading" }, element("h1", {}, card.name), element("p", { class: "quiet" }, newest));
  const parts = [heading];
  if (card.image !== null) {
    const [place, answers] = images(card, signal);
    const places = card.image.drawn ? [place, drawing(card, signal), answers] : [place, answers];
    const tried = element("div", { class: card.image.drawn ? "places drawn" : "places" }, ...places);
    parts.push(section("Try it", element("p", { class: "quiet" }, wanted(card.image)), tried));
  }
  parts.push(section("Versions", table("Versions", ["version", "state", "labels", "reason"], card.versions.map(version))));
  if (card.newest !== null) {
    const described = table("Inputs and outputs", ["kind", "name", "datatype", "shape"], tensors(card));
    parts.push(section("Tensors", described, ...card.inputs.filter(({ feature_names: names }) => names.length > 0).map(features)));
  }
  parts.push(section("Ask it", ...asked(card)));
  return element("div", {}, ...parts);
}

function wanted(image) {
  const size = image.width === null || image.height === null ? "" : ` of ${image.width} × ${image.height} pixels`;
  const kind = image.channels === "L" ? "a grey image" : "an image";
  const labels = image.labels > 0 ? `, and tells ${image.labels} labels apart` : "";
  return `It looks at ${kind}${size}${labels}. Yours may have any size: it is fitted.`;
}

function version({ version, state, labels, reason }) {
  return [version ?? "", element("span", { class: state === "READY" ? "state ready" : "state" }, state.toLowerCase()), labels.join(", "), reason];
}

function tensors({ inputs, outputs }) {
  const row = (kind) => ({ name, datatype, shape, optional }) =>
    [optional ? `${kind}, optional` : kind, element("code", {}, name), datatype, element("code", {}, `[${shape.join(", ")}]`)];
  return [...inputs.map(row("input")), ...outputs.map(row("output"))];
}

/* What the values of an input are, in the order in which they are sent: folded where they are many. */
function features({ name, feature_names: names }) {
  const summary = element("summary", {}, "A row of ", element("code", {}, name), `: ${names.length} values, in this order`);
  return element("details", { open: names.length <= 30 }, summary, element("ol", {}, ...names.map((each) => element("li", {}, element("code", {}, each)))));
}

function asked({ requests }) {
  if (requests.length === 0) {
    return [element("p", {}, "An example would be too long to paste; ", element("a", { href: at("docs") }, "the API"), " says how it is asked.")];
  }
  return requests.map(({ form, path, arguments: given }) => {
    const shownKey = hasKey() ? '-H "Authorization: Bearer $TUREEN_API_KEY" ' : "";
    const line = `curl -s ${shownKey}${given} ${at(path)}`;
    const copy = element("button", { type: "button", "aria-label": `Copy the request of ${form}`, click: copied(line) }, "Copy");
    // Only where the page came safely may it write to the clipboard.
    copy.hidden = !navigator.clipboard;
    return element("figure", {}, element("figcaption", {}, form, copy), element("pre", { tabindex: "0" }, element("code", {}, line)));
  });
}

const copied = (line) => async ({ currentTarget }) => {
  await navigator.clipboard.writeText(line).then(() => { currentTarget.textContent = "Copied"; }, () => { currentTarget.textContent = "Not copied"; });
  setTimeout(() => { currentTarget.textContent = "Copy"; }, 1500);
};
