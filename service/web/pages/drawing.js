/* A place to draw an image by hand, light ink on black, for models that look at small grey ones. It is asked after each stroke. */

import { bars, best, classify } from "./answers.js";
import { element } from "./elements.js";

/* The longer side of what is drawn (pixels). */
const SIDE = 320;
/* How long the hand rests before the model is asked (milliseconds). */
const REST = 150;

export function drawing(card, signal) {
  const { width, height } = card.image;
  const scale = SIDE / Math.max(width, height);
  const canvas = element("canvas", {
    width: Math.round(width * scale), height: Math.round(height * scale), role: "img",
    "aria-label": "A place to draw with a mouse or a finger. With a keyboard, choose an image instead.",
  });
  const status = element("p", { class: "status", role: "status" }, "Draw here; fill the square.");
  const labels = element("div", {});
  const clear = element("button", { type: "button" }, "Clear");
  const pen = canvas.getContext("2d");
  let asking = new AbortController();
  let timer = null;

  const blank = () => {
    pen.fillStyle = "#000";
    pen.fillRect(0, 0, canvas.width, canvas.height);
    // Some one to two of the model's own pixels: thinner ink is lost when the image is made small.
    Object.assign(pen, { strokeStyle: "#fff", lineCap: "round", lineJoin: "round", lineWidth: scale * (0.9 + 0.045 * Math.max(width, height)) });
  };
  const stop = () => {
    clearTimeout(timer);
    asking.abort();
  };
  const look = async () => {
    asking = new AbortController();
    const { signal: mine } = asking;
    const file = new File([await new Promise((done) => canvas.toBlob(done, "image/png"))], "drawing.png", { type: "image/png" });
    try {
      const { predictions: [prediction], took } = await classify(card, [file], mine);
      labels.replaceChildren(bars(prediction));
      status.textContent = took === "" ? best(prediction) : `${best(prediction)} · ${took}`;
    } catch (error) {
      if (!mine.aborted) {
        throw error;
      }
    }
  };
  const point = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * canvas.width, ((clientY - box.top) / box.height) * canvas.height];
  };
  const draw = (event) => {
    if (canvas.hasPointerCapture(event.pointerId)) {
      // A quick hand is in more places than the page is told of one by one.
      (event.getCoalescedEvents?.() ?? []).concat(event).forEach((each) => pen.lineTo(...point(each)));
      pen.stroke();
    }
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.isPrimary && event.button === 0) {
      stop();
      canvas.setPointerCapture(event.pointerId);
      pen.beginPath();
      pen.moveTo(...point(event));
      draw(event);
    }
  });
  canvas.addEventListener("pointermove", draw);
  canvas.addEventListener("lostpointercapture", () => {
    clearTimeout(timer);
    timer = setTimeout(look, REST);
  });
  clear.addEventListener("click", () => {
    stop();
    blank();
    labels.replaceChildren();
    status.textContent = "Draw here; fill the square.";
  });
  signal.addEventListener("abort", stop);
  blank();
  return element("div", { class: "drawing" }, element("div", { class: "board" }, canvas, clear), status, labels);
}
