#!/usr/bin/env bash
# Big-endian TIFFs ("MM") of floats of 32 bits and of signed integers of 16 bits, as tifffile 2026.3.3 writes them, plain
# and deflated; read by Pillow 13, OpenCV 5 and libvips 8.18.
# Expected: the values that were written, whatever the compression (TIFF 6.0, sections 2 and 19), as OpenCV and libvips read
# them, and Pillow too where they are not compressed.
# Seen: of deflated samples Pillow swaps the bytes, which libtiff has brought into the machine's order already: 0.25 becomes
# 4.6e-41 and -19 becomes -4609. No error, no warning; likewise with PackBits and LZW, or a predictor. Unsigned ones are
# right.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 tifffile==2026.3.3 imagecodecs==2026.3.6 \
    opencv-python-headless==5.0.0.93 pyvips==3.2.0 pyvips-binary==8.18.7
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import cv2
import numpy
import pyvips
import tifffile
from PIL import Image

WRITTEN = {
    "float32": numpy.arange(1, 13, dtype=numpy.float32).reshape(3, 4) / 4,
    "int16": numpy.arange(-20, -8, dtype=numpy.int16).reshape(3, 4),
    "uint16": numpy.arange(1, 13, dtype=numpy.uint16).reshape(3, 4),
}
as_noted = True
for name, written in WRITTEN.items():
    for compression in (None, "packbits", "deflate"):
        path = f"{sys.argv[1]}/{name}-{compression}.tif"  # libvips remembers what it read from a name
        tifffile.imwrite(path, written, byteorder=">", compression=compression, photometric="minisblack")
        with Image.open(path) as picture:
            by_pillow = numpy.array(picture)
        by_opencv = cv2.imread(path, cv2.IMREAD_UNCHANGED)
        by_vips = pyvips.Image.new_from_file(path).numpy()
        print(f"{name}, {compression}: written {written[0, :2]}, Pillow {by_pillow[0, :2]}, OpenCV {by_opencv[0, :2]}")
        right = numpy.array_equal(written, by_pillow)
        swapped = numpy.array_equal(written, by_pillow.astype(written.dtype).byteswap())
        as_noted &= right if compression is None or name == "uint16" else swapped and not right
        as_noted &= numpy.array_equal(written, by_opencv) and numpy.array_equal(written, by_vips)
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
