#!/usr/bin/env bash
# A Photoshop file of mode Bitmap, 1 bit deep, not compressed and with PackBits, made by hand: a row whose left half is ink;
# read by Pillow 13 and psd-tools 1.26.0.
# Expected: a bit that is set is ink, which is black, as psd-tools reads it, and as ImageMagick's coders/psd.c and Apache
# Commons Imaging's DataParserBitmap have it. (Adobe's specification names mode 0, "Bitmap", but not which bit is black.)
# Seen: Pillow takes a bit that is set for white: the picture comes back as its negative. No error, no warning.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 psd-tools==1.26.0
"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
from io import BytesIO

from PIL import Image
from psd_tools import PSDImage

WIDTH, HEIGHT = 16, 2
ROW = b"\xff\x00"


def psd(packed: bool) -> bytes:
    """Header, no palette, no resources, no layers, then the merged picture."""
    header = b"8BPS" + struct.pack(">H6xHLLHH", 1, 1, HEIGHT, WIDTH, 1, 0) + bytes(12)
    if not packed:
        return header + struct.pack(">H", 0) + ROW * HEIGHT
    line = b"\x01" + ROW  # two bytes as they are
    return header + struct.pack(f">H{HEIGHT}H", 1, *[len(line)] * HEIGHT) + line * HEIGHT


black_then_white = [0] * 8 + [255] * 8
as_noted = True
for packed in (False, True):
    content = psd(packed)
    by_pillow = list(Image.open(BytesIO(content)).convert("L").tobytes())[:WIDTH]
    by_psd_tools = list(PSDImage.open(BytesIO(content)).topil().convert("L").tobytes())[:WIDTH]
    print(f"{'PackBits' if packed else 'not compressed'}\n  psd-tools {by_psd_tools}\n  Pillow    {by_pillow}")
    as_noted &= by_psd_tools == black_then_white and by_pillow == [255 - level for level in black_then_white]
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
