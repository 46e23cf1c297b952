"""Pictures drawn for the tests, and the shortest way through the stage."""

from io import BytesIO
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from batchproc.model import Item, Reply, Source, SourceImage
from batchproc.transform.plan import Transform


def photo(width: int = 400, height: int = 300, mode: str = "RGB") -> Image.Image:
    """A smooth picture without any symmetry: gradients, and a shape near one corner."""
    across = Image.linear_gradient("L").rotate(90).resize((width, height))
    down = Image.linear_gradient("L").resize((width, height))
    picture = Image.merge("RGB", (across, down, Image.radial_gradient("L").resize((width, height))))
    ImageDraw.Draw(picture).ellipse((width // 10, height // 8, width // 3, height // 2), fill=(250, 60, 30))
    return picture.convert(mode)


def encoded(image: Image.Image, format: str = "JPEG", **options: Any) -> bytes:
    """The picture as a file's content."""
    file = BytesIO()
    if format == "JPEG":
        options = {"quality": 95, "subsampling": 0, **options}
    image.save(file, format, **options)
    return file.getvalue()


def item(content: bytes, name: str = "a") -> Item[SourceImage]:
    """An original on its way into the transform stage."""
    source = Source(index=0, line=1, url=f"http://images.test/{name}", key=name.encode().ljust(16, b"\x00"))
    return Item(source=source, value=SourceImage(content=content, reply=Reply(status_code=200)))


class Laps:
    """A stopwatch that only remembers the names of its parts."""

    def __init__(self) -> None:
        self.parts: list[str] = []

    def __call__(self, part: str) -> None:
        self.parts.append(part)

    def watch_gil(self, part: str) -> None:
        """Nobody asks."""


no_lap: Any = Laps()  # that nobody reads


def run(folder: Path, content: bytes, **plan: Any) -> Image.Image:
    """What the stage makes of `content`, opened."""
    rendition = Transform(temporary_folder=str(folder), **plan).open()(item(content), no_lap)
    image = Image.open(BytesIO(Path(rendition.temporary_path).read_bytes()))
    image.load()
    return image


def pixel(image: Image.Image, x: int, y: int) -> tuple[int, ...]:
    """One pixel, always as a tuple."""
    value = image.getpixel((x, y))
    return value if isinstance(value, tuple) else (int(value or 0),)


def difference(one: Image.Image, other: Image.Image) -> float:
    """The mean difference of two pictures of one size, in levels of 255."""
    assert one.size == other.size
    pairs = zip(one.convert("RGB").tobytes(), other.convert("RGB").tobytes(), strict=True)
    return sum(abs(a - b) for a, b in pairs) / (3 * one.width * one.height)
