#!/usr/bin/env bash
# A TIFF of 8 x 4 px, RGB of 16 bits in separate planes, not compressed, all of one colour, made by hand, read by Pillow 13.
# Expected: the upper bytes of the samples, 50, 100, 200, in every pixel (TIFF 6.0, PlanarConfiguration 2), as tifffile
# reads them, and Pillow too when the same planes are deflated.
# Seen: Pillow reads each plane as one of 8 bits: lower and upper bytes take turns as pixels. No error, no warning; RGBA,
# CMYK and tiles likewise.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6
"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
import zlib
from io import BytesIO

import tifffile
from PIL import Image

WIDTH, HEIGHT = 8, 4
SAMPLES = (50 << 8 | 3, 100 << 8 | 5, 200 << 8 | 7)
SHORT, LONG = 3, 4


def tiff(compression: int) -> bytes:
    """One strip for each plane, then the directory."""
    planes = [struct.pack(f"<{WIDTH * HEIGHT}H", *[sample] * (WIDTH * HEIGHT)) for sample in SAMPLES]
    planes = [zlib.compress(plane) if compression == 8 else plane for plane in planes]
    done = bytearray(b"II*\0\0\0\0\0")
    offsets = []
    for plane in planes:
        offsets.append(len(done))
        done += plane + bytes(len(plane) % 2)
    tables = len(done)
    done += struct.pack("<3H", 16, 16, 16) + struct.pack("<3L", *offsets) + struct.pack("<3L", *map(len, planes))
    fields = [
        (256, LONG, 1, WIDTH), (257, LONG, 1, HEIGHT), (258, SHORT, 3, tables), (259, SHORT, 1, compression),
        (262, SHORT, 1, 2), (273, LONG, 3, tables + 6), (277, SHORT, 1, 3), (278, LONG, 1, HEIGHT),
        (279, LONG, 3, tables + 18), (284, SHORT, 1, 2),
    ]
    struct.pack_into("<L", done, 4, len(done))
    done += struct.pack("<H", len(fields)) + b"".join(struct.pack("<HHLL", *field) for field in fields) + bytes(4)
    return bytes(done)


expected = [(50, 100, 200)]
as_noted = True
for words, compression in (("not compressed", 1), ("deflated", 8)):
    content = tiff(compression)
    by_pillow = sorted({colour for _, colour in Image.open(BytesIO(content)).convert("RGB").getcolors()})
    planes = tifffile.imread(BytesIO(content))
    by_tifffile = sorted({tuple(int(plane[y, x]) >> 8 for plane in planes) for y in range(HEIGHT) for x in range(WIDTH)})
    print(f"{words}: should be {expected}, Pillow {by_pillow}, tifffile {by_tifffile}")
    as_noted &= by_tifffile == expected and (by_pillow == expected) == (compression == 8)
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
