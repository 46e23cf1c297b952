#!/usr/bin/env bash
# TIFFs of two and three channels in separate planes, BlackIsZero with extra samples, as tifffile 2026.3.3 writes them (grey
# with alpha, channels of a microscope), in strips of one row and of all six; read by libvips 8.18.
# Expected: what was written (TIFF 6.0, PlanarConfiguration 2 and ExtraSamples), as tifffile and imagecodecs' libtiff read it.
# Seen: in strips of more than one row all rows but the first of a strip are wrong: each begins in the middle of another.
# No error, no warning. In strips of one row, or as RGB, the same samples are right.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check tifffile==2026.3.3 imagecodecs==2026.3.6 pyvips==3.2.0 \
    pyvips-binary==8.18.7
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from io import BytesIO

import imagecodecs
import numpy
import pyvips
import tifffile

ROWS, WIDTH = 6, 10
as_noted = True
for photometric, channels in (("minisblack", 2), ("minisblack", 3), ("rgb", 3)):
    planes = numpy.arange(channels * ROWS * WIDTH, dtype=numpy.uint8).reshape(channels, ROWS, WIDTH)
    for rows_of_strip in (1, ROWS):
        file = BytesIO()
        tifffile.imwrite(file, planes, photometric=photometric, planarconfig="separate", rowsperstrip=rows_of_strip)
        content = file.getvalue()
        by_vips = pyvips.Image.new_from_buffer(content, "").numpy().transpose(2, 0, 1)
        wrong = [row for row in range(ROWS) if not numpy.array_equal(by_vips[:, row], planes[:, row])]
        print(
            f"{photometric}, {channels} planes, strips of {rows_of_strip}: wrong rows {wrong}; the second row of the first"
            f" plane is {planes[0, 1, :3]}.., by libvips {by_vips[0, 1, :3]}.."
        )
        as_noted &= wrong == (list(range(1, ROWS)) if photometric == "minisblack" and rows_of_strip > 1 else [])
        as_noted &= numpy.array_equal(tifffile.imread(BytesIO(content)), planes)
        as_noted &= numpy.array_equal(imagecodecs.tiff_decode(content), planes)
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
