"""A hand at a browser's page: what it chooses, drops, pastes and draws."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

from tests.e2e.browser import Page

Point = tuple[float, float]

#: The digits as strokes through points of a square of side 1, as a hand writes them; each fills the square from top to bottom.
STROKES: dict[str, list[list[Point]]] = {
    "0": [[(0.5, 0.1), (0.32, 0.2), (0.25, 0.5), (0.32, 0.8), (0.5, 0.9), (0.68, 0.8), (0.75, 0.5), (0.68, 0.2), (0.5, 0.1)]],
    "1": [[(0.35, 0.3), (0.55, 0.1), (0.55, 0.9)]],
    "7": [[(0.25, 0.12), (0.75, 0.12), (0.5, 0.5), (0.42, 0.9)], [(0.35, 0.5), (0.68, 0.5)]],
}


def choose(page: Page, *files: Path) -> None:
    """Files, as the browser's own window chooses them."""
    document = page.call("DOM.getDocument")["root"]["nodeId"]
    node = page.call("DOM.querySelector", nodeId=document, selector="input[type=file]")["nodeId"]
    page.call("DOM.setFileInputFiles", nodeId=node, files=[str(file) for file in files])


def drop(page: Page, *files: Path) -> None:
    """Files, dragged from another window."""
    x, y = _middle(page, ".zone")
    data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
    for kind in ("dragEnter", "dragOver", "drop"):
        page.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


def paste(page: Page, name: str, kind: str, content: bytes) -> None:
    """A file from the clipboard."""
    words = ", ".join(map(json.dumps, (base64.b64encode(content).decode(), name, kind)))
    page.evaluate(f"""((encoded, name, type) => {{
        const clipboardData = new DataTransfer();
        clipboardData.items.add(new File([Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))], name, {{ type }}));
        document.body.dispatchEvent(new ClipboardEvent("paste", {{ clipboardData, bubbles: true, cancelable: true }}));
    }})({words})""")


def draw(page: Page, strokes: Sequence[Sequence[Point]], *, finger: bool = False) -> None:
    """Strokes on the page's canvas, by mouse or by finger."""
    page.evaluate("document.querySelector('canvas').scrollIntoView({ block: 'center' })")
    left, top, side = page.evaluate(
        "(({ left, top, width }) => [left, top, width])(document.querySelector('canvas').getBoundingClientRect())"
    )
    for stroke in strokes:
        points = [(left + x * side, top + y * side) for x, y in stroke]
        (_touched if finger else _clicked)(page, points)


def _clicked(page: Page, points: Sequence[Point]) -> None:
    kinds = ["mousePressed", *["mouseMoved"] * (len(points) - 1), "mouseReleased"]
    for kind, (x, y) in zip(kinds, [*points, points[-1]], strict=True):
        page.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)


def _touched(page: Page, points: Sequence[Point]) -> None:
    kinds = ["touchStart", *["touchMove"] * (len(points) - 1)]
    for kind, (x, y) in zip(kinds, points, strict=True):
        page.call("Input.dispatchTouchEvent", type=kind, touchPoints=[{"x": x, "y": y}])
    page.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def _middle(page: Page, selector: str) -> Point:
    found = page.evaluate(
        f"(({{ x, y, width, height }}) => [x + width / 2, y + height / 2])"
        f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
    )
    return found[0], found[1]
