#!/usr/bin/env bash
# A monochrome AVIF of limited range (black is 16, white is 235 of 255; AV1 4:0:0, nclx full_range_flag = 0), read by
# libvips 8.18 with its own libheif, from the wheels of pyvips-binary.
# Expected: grey levels expanded to 0 to 255, as libavif gives them and as libvips itself does for 4:2:0 and 4:4:4.
# Seen: the stored levels as they are: 16 for black and 235 for white, no error, no warning, no field that tells.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 pyvips==3.2.0 pyvips-binary==8.18.7
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from io import BytesIO

import pyvips
from PIL import Image


def read(subsampling: str) -> tuple[list[int], list[int]]:
    """The levels of a black, a grey and a white third: by libavif (Pillow), and by libheif (libvips)."""
    grey = Image.new("L", (96, 32), 0)
    grey.paste(128, (32, 0, 64, 32))
    grey.paste(255, (64, 0, 96, 32))
    file = BytesIO()
    picture = grey if subsampling == "4:0:0" else grey.convert("RGB")
    picture.save(file, "AVIF", quality=100, subsampling=subsampling, range="limited")
    places = (16, 48, 80)
    one, other = Image.open(file).convert("L"), pyvips.Image.new_from_buffer(file.getvalue(), "")
    return [one.getpixel((x, 16)) for x in places], [round(other.getpoint(x, 16)[0]) for x in places]


colour, grey = read("4:4:4"), read("4:0:0")
print("written: 0 128 255")
print("4:4:4, limited range: libavif", *colour[0], "libvips", *colour[1])
print("4:0:0, limited range: libavif", *grey[0], "libvips", *grey[1])
as_noted = grey[0][0] <= 2 and grey[0][2] >= 253 and abs(grey[1][0] - 16) <= 2 and abs(grey[1][2] - 235) <= 2
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
