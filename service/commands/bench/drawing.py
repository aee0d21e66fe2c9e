"""Pictures as lists of shapes, which SVG and PNG draw alike. Points are pixels from the upper left corner."""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Point = tuple[float, float]

FONT_PX = 12


@dataclass(frozen=True, slots=True)
class Box:
    """A filled rectangle; ``title``: what a browser says of it."""

    at: Point
    width: float
    height: float
    colour: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Path:
    """A line through points."""

    points: Sequence[Point]
    colour: str
    width: float = 1.5


@dataclass(frozen=True, slots=True)
class Text:
    """One line of text; ``at`` is where its baseline starts, ends or has its middle."""

    at: Point
    text: str
    anchor: Literal["start", "middle", "end"] = "start"
    colour: str = "#444444"
    bold: bool = False


Shape = Box | Path | Text


@dataclass(frozen=True, slots=True)
class Drawing:
    """Shapes, the later ones upon the earlier."""

    width: int
    height: int
    shapes: Sequence[Shape]


def svg(drawing: Drawing) -> str:
    """The drawing as an `<svg>` element, which needs nothing beside it."""
    made = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {drawing.width} {drawing.height}" width="{drawing.width}" '
        f'height="{drawing.height}" role="img" font-family="system-ui, sans-serif" font-size="{FONT_PX}">'
    ]
    made += map(_element, drawing.shapes)
    return "\n".join([*made, "</svg>"])


def _element(shape: Shape) -> str:
    match shape:
        case Box((x, y), width, height, colour, title):
            inside = f"<title>{html.escape(title)}</title>" if title else ""
            return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}">{inside}</rect>'
        case Path(points, colour, width):
            along = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
            return f'<polyline points="{along}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linejoin="round"/>'
        case Text((x, y), text, anchor, colour, bold):
            weight = ' font-weight="600"' if bold else ""
            return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}"{weight}>{html.escape(text)}</text>'
