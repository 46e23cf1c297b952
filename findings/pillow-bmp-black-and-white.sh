#!/usr/bin/env bash
# BMPs of 4 and 8 bits whose palette is black and white alone (biClrUsed 2), made by hand, read by Pillow 13.
# Expected: index 0 is black, index 1 is white (Microsoft, BITMAPINFOHEADER), as imagecodecs reads them.
# Seen: Pillow takes such a palette for a picture of 1 bit whatever biBitCount says, and reads each byte as eight pixels:
# the picture comes out all black, or in stripes. No error. With white before black, or with a third entry, it is right.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6
"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
from io import BytesIO

import imagecodecs
import numpy
from PIL import Image

PIXELS = [0, 1, 1, 0, 1, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0]


def bmp(bits: int, palette: list[int]) -> bytes:
    """One row of 16 pixels; the palette is of greys."""
    entries = b"".join(bytes((level, level, level, 0)) for level in palette)
    row = bytes(PIXELS) if bits == 8 else bytes(a << 4 | b for a, b in zip(PIXELS[::2], PIXELS[1::2]))
    start = 14 + 40 + len(entries)
    info = struct.pack("<LllHHLLllLL", 40, len(PIXELS), 1, 1, bits, 0, len(row), 2835, 2835, len(palette), 0)
    return b"BM" + struct.pack("<LLL", start + len(row), 0, start) + info + entries + row


as_noted = True
for bits in (4, 8):
    for palette in ([0, 255], [255, 0]):
        content = bmp(bits, palette)
        expected = [palette[pixel] for pixel in PIXELS]
        by_pillow = list(Image.open(BytesIO(content)).convert("L").tobytes())
        decoded = numpy.asarray(imagecodecs.bmp_decode(content)).reshape(len(PIXELS), -1)
        by_imagecodecs = [int(level) for level in decoded[:, 0]]
        print(f"{bits} bits, palette {palette}: should be {expected}")
        print(f"    Pillow      {by_pillow}")
        print(f"    imagecodecs {by_imagecodecs}")
        as_noted &= by_imagecodecs == expected and (by_pillow == expected) == (palette == [255, 0])
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
