#!/usr/bin/env bash
# An animated PNG of two frames, made by hand: the first opaque red, the second half-transparent blue, laid over the first
# (blend_op APNG_BLEND_OP_OVER); read by Pillow 13, imagecodecs 2026.3.6 and OpenCV 5.
# Expected: what lies over an opaque pixel leaves it opaque: (127, 0, 128, 255), by the rule of PNG, third edition, 11.3.6.2
# ("Alpha channel processing"), as OpenCV reads it.
# Seen: Pillow and imagecodecs blend alpha as they blend the colours: (127, 0, 128, 191). The opaque animation becomes
# transparent from its second frame on. No error, no warning.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6 \
    opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - "$folder/animation.png" <<'PYTHON'
import struct
import sys
import zlib
from pathlib import Path

import cv2
import imagecodecs
from PIL import Image

SIDE = 4
RED, BLUE = bytes([255, 0, 0, 255]), bytes([0, 0, 255, 128])
NONE, OVER = 0, 1


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def pixels(colour: bytes) -> bytes:
    return zlib.compress((b"\0" + colour * SIDE) * SIDE)


def control(number: int) -> bytes:
    return chunk(b"fcTL", struct.pack(">5L2H2B", number, SIDE, SIDE, 0, 0, 1, 10, NONE, OVER))


path = sys.argv[1]
Path(path).write_bytes(
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">2L5B", SIDE, SIDE, 8, 6, 0, 0, 0))
    + chunk(b"acTL", struct.pack(">2L", 2, 0))
    + control(0)
    + chunk(b"IDAT", pixels(RED))
    + control(1)
    + chunk(b"fdAT", struct.pack(">L", 2) + pixels(BLUE))
    + chunk(b"IEND", b"")
)
with Image.open(path) as picture:
    picture.seek(1)
    by_pillow = tuple(picture.convert("RGBA").getpixel((0, 0)))
by_imagecodecs = tuple(map(int, imagecodecs.apng_decode(Path(path).read_bytes())[1][0, 0]))
_, animation = cv2.imreadanimation(path)
blue, green, red, alpha = map(int, animation.frames[1][0, 0])
by_opencv = (red, green, blue, alpha)
print(f"second frame: Pillow {by_pillow}, imagecodecs {by_imagecodecs}, OpenCV {by_opencv}")
as_noted = (
    by_pillow[3] == by_imagecodecs[3] == 191
    and by_opencv[3] == 255
    and all(abs(value - right) <= 1 for value, right in zip(by_opencv, (127, 0, 128, 255), strict=True))
)
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
