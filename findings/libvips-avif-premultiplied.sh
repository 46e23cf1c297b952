#!/usr/bin/env bash
# An AVIF whose colours are stored multiplied by their alpha (item reference `prem`, ISO/IEC 23000-22, 7.3.5.2), read by
# libvips 8.18 with its own libheif, from the wheels of pyvips-binary.
# Expected: straight colours, as libvips gives them for every other file with alpha, or a field that says otherwise.
# Seen: the multiplied colours beside their alpha, without any field: laid on a background they come out too dark.
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

written = (200, 100, 50, 128)


def read(premultiplied: bool) -> tuple[tuple[int, ...], tuple[int, ...], list[str]]:
    """The same picture by libavif (Pillow) and by libheif (libvips), and what fields libvips has."""
    file = BytesIO()
    picture = Image.new("RGBA", (32, 32), written)
    picture.save(file, "AVIF", quality=100, subsampling="4:4:4", alpha_premultiplied=premultiplied)
    seen = pyvips.Image.new_from_buffer(file.getvalue(), "")
    return Image.open(file).getpixel((16, 16)), tuple(map(round, seen.getpoint(16, 16))), seen.get_fields()


straight, multiplied = read(False), read(True)
print("written:", written)
print("straight:      libavif", straight[0], "libvips", straight[1])
print("premultiplied: libavif", multiplied[0], "libvips", multiplied[1])
print("fields that libvips has for one alone:", *set(straight[2]) ^ set(multiplied[2]))
near = [max(abs(a - b) for a, b in zip(written, one)) <= 4 for one in (straight[1], multiplied[0])]
as_noted = all(near) and abs(multiplied[1][0] - 100) <= 4 and set(straight[2]) == set(multiplied[2])
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
