#!/usr/bin/env bash
# A BMP of 32 bits with a header of 40 bytes and three bit fields for red, green and blue (BI_BITFIELDS), made by hand,
# read by imagecodecs 2026.3.6.
# Expected: three masks stand between such a header and the pixels, and there is no alpha (Microsoft, BITMAPINFOHEADER),
# as Pillow reads it.
# Seen: imagecodecs takes the first pixel for a fourth mask, and what that finds in the others for alpha: the opaque
# picture is nearly transparent.
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
from PIL import Image

COLOURS = [(200, 60, 30), (10, 250, 90), (0, 0, 255), (255, 255, 255)]
MASKS = (0xFF0000, 0xFF00, 0xFF)


def bmp() -> bytes:
    """One row of four pixels; the fourth byte of each is 0."""
    pixels = b"".join(bytes((blue, green, red, 0)) for red, green, blue in COLOURS)
    start = 14 + 40 + 12
    info = struct.pack("<LllHHLLllLL", 40, len(COLOURS), 1, 1, 32, 3, len(pixels), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<LLL", start + len(pixels), 0, start) + info + struct.pack("<3L", *MASKS) + pixels


content = bmp()
image = Image.open(BytesIO(content))
by_pillow = [image.getpixel((x, 0)) for x in range(len(COLOURS))]
decoded = imagecodecs.bmp_decode(content)
by_imagecodecs = [tuple(int(level) for level in pixel) for pixel in decoded.reshape(len(COLOURS), -1)]
print(f"should be   {COLOURS}\nPillow      {by_pillow}\nimagecodecs {by_imagecodecs}")
as_noted = by_pillow == COLOURS and decoded.shape[-1] == 4 and [pixel[:3] for pixel in by_imagecodecs] == COLOURS
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
