"""Draws the pictures of the docs: what `how` and `gravity` mean, made by the steps themselves.

    python -m tests.docs.pictures

Each sheet shows a landscape that is drawn here, and what each word makes of it: with the size that came out, and framed
where the size that was asked for ends.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from batchproc.transform.steps.geometry import Crop, Resize

DOCS = Path(__file__).parents[2] / "docs"
SOURCE_SIZE, ASKED = (180, 120), (96, 96)
CELL, COLUMNS, LABEL_HEIGHT = (200, 166), 4, 34
PAPER, INK, FRAME = "#ffffff", "#222222", "#d02020"
COLOURS = 64
HOWS = ("contain", "cover", "fit", "pad", "exact", "scale")
GRAVITIES = ("northwest", "north", "northeast", "west", "center", "east", "southwest", "south", "southeast")
MEANINGS = {
    "contain": "as large as fits into the size, whole; one side may be shorter",
    "cover": "as small as covers the size, whole; one side may be longer",
    "fit": "covers the size, and what stands out at two sides is cut off: exactly the size",
    "pad": "fits into the size, and the rest is filled: exactly the size",
    "exact": "exactly the size, out of proportion where need be",
    "scale": "no size but a `factor`: 0.5 is half as wide and high",
}


def draw_source() -> Image.Image:
    """A landscape in which one sees what is missing, and what is out of proportion: a round sun, four corners."""
    image = Image.new("RGB", SOURCE_SIZE, "#9cc4e8")
    draw = ImageDraw.Draw(image)
    width, height = SOURCE_SIZE
    draw.polygon([(0, 84), (50, 40), (96, 84), (128, 56), (180, 92), (180, 120), (0, 120)], fill="#5f8f5a")
    draw.ellipse((66, 36, 114, 84), fill="#f6d24a", outline=INK, width=2)
    for number, corner in enumerate(((0, 0), (width - 20, 0), (0, height - 20), (width - 20, height - 20)), start=1):
        draw.rectangle((*corner, corner[0] + 19, corner[1] + 19), fill="#ffffff", outline=INK)
        draw.text((corner[0] + 10, corner[1] + 10), str(number), fill=INK, anchor="mm", font=ImageFont.load_default(13))
    return image


def sheet(cells: Mapping[str, Image.Image], framed: Sequence[str]) -> Image.Image:
    """The pictures beside each other with their words and sizes; those in `framed` with the size that was asked for."""
    rows = -(-len(cells) // COLUMNS)
    paper = Image.new("RGB", (CELL[0] * COLUMNS, CELL[1] * rows), PAPER)
    draw = ImageDraw.Draw(paper)
    for number, (word, image) in enumerate(cells.items()):
        left, top = number % COLUMNS * CELL[0], number // COLUMNS * CELL[1]
        middle = (left + CELL[0] // 2, top + (CELL[1] - LABEL_HEIGHT) // 2)
        paper.paste(image, (middle[0] - image.width // 2, middle[1] - image.height // 2))
        if word in framed:
            corner = (middle[0] - ASKED[0] // 2, middle[1] - ASKED[1] // 2)
            draw.rectangle((*corner, corner[0] + ASKED[0] - 1, corner[1] + ASKED[1] - 1), outline=FRAME, width=2)
        label = f"{word}: {image.width} x {image.height}"
        draw.text((middle[0], top + CELL[1] - 16), label, fill=INK, anchor="mm", font=ImageFont.load_default(14))
    return paper.quantize(COLOURS, dither=Image.Dither.NONE)


def sheets() -> dict[str, Image.Image]:
    """The sheets by the names of their files."""
    source = draw_source()
    sizes = {how: {"factor": 0.5} if how == "scale" else {"size": ASKED} for how in HOWS}
    resized = {how: Resize(how=how, **sizes[how])(source) for how in HOWS}  # type: ignore[arg-type]
    cropped = {gravity: Crop(size=ASKED, gravity=gravity)(source) for gravity in GRAVITIES}
    return {
        "resize-how.png": sheet({"source": source, **resized}, framed=HOWS[:-1]),
        "crop-gravity.png": sheet({"source": source, **cropped}, framed=()),
    }


def main() -> None:
    """Writes them."""
    for name, image in sheets().items():
        image.save(DOCS / name, "PNG", optimize=True)
        print(f"wrote docs/{name}, {(DOCS / name).stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
