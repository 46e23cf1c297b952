#!/usr/bin/env bash
# A PNG of 2, 4 or 16 bits with one transparent grey or colour (tRNS), made by hand, read and converted to LA by Pillow 13.
# Expected: pixels of that grey are transparent; the sample in tRNS has the depth of the picture (PNG, third edition,
# 11.3.1.1), as libpng and libvips read it.
# Seen: Pillow spreads the pixels to 0 to 255 and compares them with the sample as it stands: grey 3 of 3 and 7 of 15
# stay opaque, and only 0 is ever found. Of colours of 16 bits it compares the high byte with the whole sample: of the
# reds 5 and 0x0505 (of 65535), 5 being transparent, it shows the one and hides the other.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 pyvips==3.2.0 pyvips-binary==8.18.7
"$folder/venv/bin/python" - <<'PYTHON'
import struct
import sys
import zlib
from io import BytesIO

import pyvips
from PIL import Image


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", len(content)) + kind + content + struct.pack(">L", zlib.crc32(kind + content))


def png(depth: int, colour_type: int, row: bytes, width: int, transparent: bytes) -> bytes:
    """A picture of one row."""
    header = struct.pack(">LLBBBBB", width, 1, depth, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"tRNS", transparent), (b"IDAT", zlib.compress(b"\0" + row)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*one) for one in chunks)


def alphas(content: bytes, mode: str) -> tuple[list[int], list[int]]:
    """The alpha of each pixel: by Pillow and by libvips."""
    by_pillow = list(Image.open(BytesIO(content)).convert(mode).getchannel("A").tobytes())
    seen = pyvips.Image.new_from_buffer(content, "")
    top = 65535 if seen.format == "ushort" else 255
    return by_pillow, [round(255 * seen.getpoint(x, 0)[-1] / top) for x in range(seen.width)]


cases = {
    "2 bits, greys 0 1 2 3, transparent 3": (png(2, 0, b"\x1b", 4, b"\0\3"), "LA", [255, 255, 255, 0]),
    "4 bits, greys 0 7 15 7, transparent 7": (png(4, 0, b"\x07\xf7", 4, b"\0\7"), "LA", [255, 0, 255, 0]),
    "16 bits, reds 5 and 0x0505, transparent 5": (
        png(16, 2, b"\0\5\0\0\0\0" b"\5\5\0\0\0\0", 2, b"\0\5\0\0\0\0"), "RGBA", [0, 255],
    ),
}
as_noted = True
for words, (content, mode, expected) in cases.items():
    by_pillow, by_libvips = alphas(content, mode)
    print(f"{words}: alpha should be {expected}, Pillow {by_pillow}, libvips {by_libvips}")
    as_noted &= by_libvips == expected != by_pillow
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
