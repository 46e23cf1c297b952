#!/usr/bin/env bash
# An animated GIF of two frames, made by hand, both with a transparent index: a red one over the whole canvas, to be cleared
# (disposal method 2), then a blue one of 2 x 2 px in a corner; read by OpenCV 5 with its own decoder.
# Expected: around the blue square the canvas is transparent, wherever the palette stands: it may be local to each frame,
# without a global one (GIF89a, 18 and 20; 23 for the disposal), as Pillow and libvips read it.
# Seen: where there is no global palette OpenCV does not clear: the first frame stays for good. With a global one it is right.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 pillow==13.0.0 \
    pyvips==3.2.0 pyvips-binary==8.18.7
"$folder/venv/bin/python" - "$folder/animation.gif" <<'PYTHON'
import struct
import sys
from pathlib import Path

import cv2
import pyvips
from PIL import Image

WIDTH, HEIGHT = 6, 4
PALETTE = bytes([0, 0, 0, 255, 0, 0, 0, 0, 255, 0, 255, 0])  # black, which is transparent, red, blue, green
RED, BLUE = 1, 2
CLEAR, END = 4, 5
SIZE_OF_4 = 1  # 2 ** (1 + 1) entries


def frame(index: int, width: int, height: int, disposal: int, is_local: bool) -> bytes:
    """One colour; the table of codes is cleared before each pixel, so that every code has 3 bits."""
    codes = [CLEAR, index] * (width * height) + [END]
    bits = sum(code << 3 * at for at, code in enumerate(codes))
    data = bits.to_bytes((3 * len(codes) + 7) // 8, "little")
    return (
        b"\x21\xf9\x04" + struct.pack("<BHBB", disposal << 2 | 1, 10, 0, 0)
        + b"," + struct.pack("<4HB", 0, 0, width, height, (0x80 | SIZE_OF_4) * is_local)
        + PALETTE * is_local
        + bytes([2, len(data)]) + data + b"\0"
    )


def gif(is_local: bool) -> bytes:
    return (
        b"GIF89a" + struct.pack("<2H3B", WIDTH, HEIGHT, 0x70 | (0x80 | SIZE_OF_4) * (not is_local), 0, 0)
        + PALETTE * (not is_local)
        + b"\x21\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
        + frame(RED, WIDTH, HEIGHT, 2, is_local)
        + frame(BLUE, 2, 2, 1, is_local)
        + b";"
    )


path = sys.argv[1]
seen = {}
for is_local in (False, True):
    Path(path).write_bytes(gif(is_local))
    _, animation = cv2.imreadanimation(path)
    blue, green, red, alpha = map(int, animation.frames[1][HEIGHT - 1, WIDTH - 1])
    with Image.open(path) as picture:
        picture.seek(1)
        by_pillow = picture.convert("RGBA").getpixel((WIDTH - 1, HEIGHT - 1))[3]
    by_vips = int(pyvips.Image.new_from_file(path, page=1).getpoint(WIDTH - 1, HEIGHT - 1)[3])
    seen[is_local] = (alpha, by_pillow, by_vips)
    print(
        f"{'local palettes' if is_local else 'a global palette'}: the cleared pixel is {(red, green, blue, alpha)} by OpenCV;"
        f" alpha by Pillow {by_pillow}, by libvips {by_vips}"
    )
as_noted = seen == {False: (0, 0, 0), True: (255, 0, 0)}
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
