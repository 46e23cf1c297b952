#!/usr/bin/env bash
# JPEG 2000 of 12 and 16 bits for each channel, RGB and RGBA, lossless, as imagecodecs 2026.3.6 (OpenJPEG) writes it, from
# black over grey to white; read by Pillow 13, OpenCV 5 and PyMuPDF 2.
# Expected: white stays white and opaque stays opaque: 255, as PyMuPDF brings it to 8 bits; the largest sample of n bits is
# 2**n - 1 (ITU-T T.800, A.5.1 and G.1), which OpenCV gives as it is.
# Seen: Pillow rounds up before it shifts and keeps the lower 8 bits of 256: samples of the upper half of the last step
# become 0. White turns black, what is opaque turns transparent. No error, no warning. Grey of 9 bits and LA likewise.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 imagecodecs==2026.3.6 pymupdf==2.0 \
    opencv-python-headless==5.0.0.93
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from io import BytesIO

import cv2
import imagecodecs
import numpy
import pymupdf
from PIL import Image

as_noted = True
for bits in (8, 12, 16):
    top = 2**bits - 1
    half_step = 1 << bits - 9 if bits > 8 else 0
    levels = [0, top // 2, top - half_step, top - half_step + 1, top] if bits > 8 else [0, 127, 253, 254, 255]
    row = numpy.array(levels, numpy.uint16 if bits > 8 else numpy.uint8)
    for channels in (3, 4):
        pixels = numpy.stack([numpy.tile(row, (8, 1))] * 3 + [numpy.full((8, 5), top, row.dtype)] * (channels - 3), -1)
        content = imagecodecs.jpeg2k_encode(pixels, level=0, reversible=True, bitspersample=bits, codecformat="jp2")
        picture = Image.open(BytesIO(content))
        by_pillow = [picture.getpixel((x, 0)) for x in range(5)]
        reds = [pixel[0] for pixel in by_pillow]
        by_pymupdf = [pymupdf.Pixmap(content).pixel(x, 0)[0] for x in range(5)]
        by_opencv = cv2.imdecode(numpy.frombuffer(content, numpy.uint8), cv2.IMREAD_UNCHANGED)[0, :, 2].tolist()
        alphas = {pixel[3] for pixel in by_pillow} if channels == 4 else "none"
        print(f"{bits} bits, {picture.mode}: written {levels}, OpenCV {by_opencv}, PyMuPDF {by_pymupdf}")
        print(f"    Pillow {reds}, alpha {alphas}")
        as_noted &= by_opencv == levels and by_pymupdf[-1] == 255
        if bits == 8:
            as_noted &= reds == levels and alphas in ("none", {255})
        else:
            as_noted &= reds[:1] + reds[2:] == [0, 255, 0, 0] and alphas in ("none", {0})
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
