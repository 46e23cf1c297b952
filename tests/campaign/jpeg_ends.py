"""JPEGs cut at random, with something put behind the cut: `python -m tests.campaign.jpeg_ends --seconds 300`.

Every whole file has to decode as Pillow decodes it, every cut one has to fail; what does not is printed with its seed.
The files are drawn here, as writers make them; `--photos DIR` adds those of a folder. Cuts lie before the last 64 bytes
of the data: a picture may lack one or two blocks at its end without anybody seeing it.
"""

import argparse
import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from io import BytesIO
from pathlib import Path

from PIL import Image, ImageChops

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture, prepare_pillow
from batchproc.transform.jpeg import JpegReader
from batchproc.transform.jpeg_frame import parts_of, read_frame, scan_after
from tests.transform.drawing import encoded, photo
from tests.transform.jpegs import Form, jpeg

EOI = b"\xff\xd9"
SPARED_BYTES = 64
MISSED = "a picture"
AS_WRITTEN: dict[str, dict[str, object]] = {
    "baseline 4:4:4": {"subsampling": 0, "quality": 90},
    "baseline 4:2:2": {"subsampling": 1, "quality": 75},
    "baseline 4:2:0": {"subsampling": 2, "quality": 50},
    "own tables": {"subsampling": 2, "quality": 80, "optimize": True},
    "restart markers": {"subsampling": 2, "quality": 80, "restart_marker_rows": 1},
    "many restart markers": {"subsampling": 0, "quality": 80, "restart_marker_blocks": 3},
    "progressive": {"subsampling": 2, "quality": 80, "progressive": True},
    "progressive with restart markers": {"quality": 80, "progressive": True, "restart_marker_rows": 2},
    "grey": {"quality": 80},
    "grey progressive": {"quality": 80, "progressive": True},
    "CMYK": {"quality": 80},
}
WHOLE = ((1, 1),) * 3
FORMS = {
    "4:1:1": Form(sampling=((4, 1), (1, 1), (1, 1))),
    "4:4:0": Form(sampling=((1, 2), (1, 1), (1, 1)), interval=5),
    "a scan per component": Form(sampling=WHOLE, interleaved=False),
    "arithmetic": Form(process="arithmetic", sampling=((2, 2), (1, 1), (1, 1))),
    "arithmetic with restart markers": Form(process="arithmetic", sampling=WHOLE, interval=9),
    "arithmetic progressive": Form(process="arithmetic progressive", sampling=WHOLE),
    "lossless": Form(process="lossless", sampling=WHOLE),
}


def drawn(size: tuple[int, int] = (250, 187), small: tuple[int, int] = (72, 57)) -> dict[str, bytes]:
    """A file for each row of `AS_WRITTEN` and, smaller, of `FORMS`, all of one picture with some grain."""
    modes = {"grey": "L", "CMYK": "CMYK"}
    picture, little = grainy(size), grainy(small).convert("YCbCr")
    paints = [partial(_level, channel) for channel in little.split()]
    return {
        name: encoded(picture.convert(modes.get(name.split()[0], "RGB")), **options)
        for name, options in AS_WRITTEN.items()
    } | {name: jpeg(paints, small, form) for name, form in FORMS.items()}


def grainy(size: tuple[int, int]) -> Image.Image:
    """A smooth picture with some noise."""
    return Image.blend(
        photo(*size), Image.frombytes("RGB", size, random.Random(0).randbytes(3 * size[0] * size[1])), 0.15
    )


def _level(channel: Image.Image, x: float, y: float) -> float:
    level = channel.getpixel((min(max(round(x), 0), channel.width - 1), min(max(round(y), 0), channel.height - 1)))
    assert isinstance(level, int)
    return level


def verdict(content: bytes, scale: int = 1) -> str:
    """The code of the failure, or "" for a picture. `scale`: how far the decode may be scaled down."""
    try:
        opened = open_picture(content, formats=FORMATS, max_pixels=10**9)
        needed = (opened.size[0] // scale, opened.size[1] // scale) if scale > 1 else None
        decode(opened, needed=needed, background="#ffffff", colours=Colours())
    except StageError as error:
        return error.code
    return ""


def data_of(content: bytes) -> tuple[int, int]:
    """Where the data of the first scan begins, and where that of the last one ends."""
    frame = read_frame(content)
    assert frame is not None
    scan, end = frame.scan, len(content)
    while scan is not None:
        end = parts_of(content, scan, frame.restarts(scan))[-1][1]
        scan = None if frame.is_one_scan else scan_after(content, end, scan)
    return frame.begin, end


def damaged(content: bytes, at: int, other: bytes, chance: random.Random) -> Iterator[tuple[str, bytes]]:
    """The file cut at `at`, with this and that behind it; `other` is another file."""
    head, missing = content[:at], len(content) - at
    noise = chance.randbytes(missing).replace(b"\xff", b"\xfe")
    begin, end = data_of(other)
    yield "nothing behind", head
    yield "end of image", head + EOI
    yield "zeros", head + bytes(missing)
    yield "zeros, end of image", head + bytes(missing - 2) + EOI
    yield "ones", head + b"\xff" * missing
    yield "one byte, end of image", head + chance.randbytes(1) * (2 * missing) + EOI
    yield "noise with markers", head + chance.randbytes(missing)
    yield "noise", head + noise + EOI
    yield "much noise", head + noise * 3 + EOI
    yield "another file's data", head + other[chance.randrange(begin, max(begin + 1, end - SPARED_BYTES)) :]
    yield "another file", head + other
    yield "its own later data", head + content[min(len(content) - 2, at + chance.randrange(SPARED_BYTES, 9999)) :]
    yield "an APP segment and the rest", head + b"\xff\xe1\x00\x10" + bytes(14) + content[at:]
    yield "a restart marker and the rest", head + b"\xff\xd0" + content[at:]
    yield "a page", head + b"<html><body>Gateway Timeout</body></html>" * 20


def same_as_pillows(content: bytes, scale: int) -> bool:
    """Whether the picture is the one that Pillow's own class decodes."""
    plain = Image.open(BytesIO(content), formats=["JPEG"])
    reader = JpegReader(content)
    if reader.scale_down(scale) != (0, 0, *plain.size):  # Pillow's own would also scale what has no blocks
        plain.draft(None, (max(1, plain.width // scale), max(1, plain.height // scale)))
    return not ImageChops.difference(plain, reader.pixels()).getbbox()


def campaign(files: dict[str, bytes], seconds: float, seed: int) -> int:
    """Cuts at random until the time is up; prints a table of codes. How many were not as they should be."""
    chance, ends = random.Random(seed), {name: data_of(content) for name, content in files.items()}
    wrong = 0
    for name, content in files.items():
        if not all(same_as_pillows(content, scale) for scale in (1, 2, 8)) or verdict(content):
            wrong += 1
            print(f"FALSE ALARM: {name}")
    table: dict[str, Counter[str]] = {}
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        name, other = chance.choice(list(files)), files[chance.choice(list(files))]
        begin, end = ends[name]
        at = chance.randrange(begin, max(begin + 1, end - SPARED_BYTES))
        for kind, content in damaged(files[name], at, other, chance):
            code = verdict(content, chance.choice((1, 2, 8)))
            table.setdefault(kind, Counter())[code] += 1
            if code not in (Code.TRUNCATED, Code.IMAGE_CORRUPT):
                wrong += 1
                print(f"NOT SEEN: {name} cut at {at} of {begin} to {end}, then {kind}: {code or MISSED}")
    for kind, codes in table.items():
        print(f"{kind}: {', '.join(f'{code or MISSED} {count}' for code, count in codes.most_common())}")
    print(f"{sum(map(Counter.total, table.values()))} cut files of {len(files)}, {wrong} wrong (seed {seed})")
    return wrong


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--photos", type=Path)
    options = parser.parse_args()
    prepare_pillow()
    files = drawn()
    for path in sorted(options.photos.iterdir()) if options.photos else ():
        content = path.read_bytes()
        if content.startswith(b"\xff\xd8\xff"):
            files[path.name] = content
    raise SystemExit(1 if campaign(files, options.seconds, options.seed) else 0)


if __name__ == "__main__":
    main()
