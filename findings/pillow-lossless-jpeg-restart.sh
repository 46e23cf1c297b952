#!/usr/bin/env bash
# A lossless JPEG (SOF3) of one grey component, sampling factors 1 x 2, a restart marker behind each row of samples,
# made by hand, read by Pillow 13 (libjpeg-turbo 3.2) and by libjpeg of the Free University's T. Richter.
# Expected: every sample comes back. A component by itself is not interleaved, its factors mean nothing (ITU-T T.81,
# A.2.2); prediction starts anew behind each restart marker, and an interval may be one row (H.1.1, H.1.2.1).
# Seen: libjpeg-turbo handles two rows at a time and starts anew only with the first: every second row is wrong.
# With factors 1 x 1, or an interval of two rows, it is right.
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 pylibjpeg-libjpeg==2.5.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys
from io import BytesIO

from libjpeg import decode
from PIL import Image

WIDTH, HEIGHT = 20, 12
ROWS = [[(7 * x + 31 * y + x * y) % 200 for x in range(WIDTH)] for y in range(HEIGHT)]


def segment(marker: int, content: bytes) -> bytes:
    return bytes([0xFF, marker]) + (len(content) + 2).to_bytes(2) + content


def interval(rows: list[list[int]]) -> bytes:
    """Differences to the sample on the left (predictor 1), as words of 5 bits and the bits they announce."""
    text = ""
    for y, row in enumerate(rows):
        for x, sample in enumerate(row):
            expected = row[x - 1] if x else rows[y - 1][0] if y else 128
            difference = sample - expected
            size = abs(difference).bit_length()
            text += f"{size:05b}"
            if size:
                text += f"{(difference if difference > 0 else difference - 1) & ((1 << size) - 1):0{size}b}"
    text += "1" * (-len(text) % 8)
    return int(text, 2).to_bytes(len(text) // 8).replace(b"\xff", b"\xff\x00")


def lossless(factors: int, rows: int) -> bytes:
    """The file, with a restart marker behind each `rows` rows."""
    frame = bytes([8]) + HEIGHT.to_bytes(2) + WIDTH.to_bytes(2) + bytes([1, 1, factors, 0])
    words = bytes([0, 0, 0, 0, 0, 17] + [0] * 11 + list(range(17)))
    parts = [interval(ROWS[at : at + rows]) for at in range(0, HEIGHT, rows)]
    data = parts[0] + b"".join(bytes([0xFF, 0xD0 + at % 8]) + part for at, part in enumerate(parts[1:]))
    head = segment(0xC3, frame) + segment(0xC4, words) + segment(0xDD, (rows * WIDTH).to_bytes(2))
    return b"\xff\xd8" + head + segment(0xDA, bytes([1, 1, 0, 1, 0, 0])) + data + b"\xff\xd9"


def wrong_rows(samples: bytes) -> list[int]:
    return [y for y, row in enumerate(ROWS) if samples[y * WIDTH : (y + 1) * WIDTH] != bytes(row)]


as_noted = True
for words, content, expected in (
    ("1 x 2, a row each", lossless(0x12, 1), list(range(1, HEIGHT, 2))),
    ("1 x 2, two rows each", lossless(0x12, 2), []),
    ("1 x 1, a row each", lossless(0x11, 1), []),
):
    by_pillow = wrong_rows(Image.open(BytesIO(content)).tobytes())
    by_libjpeg = wrong_rows(decode(content).tobytes())
    print(f"{words}: wrong rows by Pillow {by_pillow}, by libjpeg {by_libjpeg}")
    as_noted &= by_pillow == expected and by_libjpeg == []
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
