"""A drawing as PNG, by Pillow."""

from __future__ import annotations

from pathlib import Path as File

from service.commands.bench.drawing import FONT_PX, Box, Drawing, Path, Text

#: Pixels of the picture for one of the drawing: text stays sharp on dense screens.
_SCALE = 2
_ANCHORS = {"start": "ls", "middle": "ms", "end": "rs"}


def write(drawing: Drawing, file: File) -> None:
    """Draws it into the file. Raises OSError."""
    # Imported here: no other command draws.
    from PIL import Image, ImageDraw, ImageFont

    image = Image.new("RGB", (drawing.width * _SCALE, drawing.height * _SCALE), "white")
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(FONT_PX * _SCALE)
    for shape in drawing.shapes:
        match shape:
            case Box((x, y), width, height, colour):
                if width > 0 and height > 0:
                    right, below = (x + width) * _SCALE - 1, (y + height) * _SCALE - 1
                    draw.rectangle((x * _SCALE, y * _SCALE, max(right, x * _SCALE), max(below, y * _SCALE)), fill=colour)
            case Path(points, colour, width):
                scaled = [(x * _SCALE, y * _SCALE) for x, y in points]
                draw.line(scaled, fill=colour, width=round(width * _SCALE), joint="curve")
            case Text((x, y), text, anchor, colour, bold):
                place = (x * _SCALE, y * _SCALE)
                stroke = 0.5 if bold else 0
                draw.text(place, text, fill=colour, font=font, anchor=_ANCHORS[anchor], stroke_width=stroke)
    image.save(file, "PNG")
