#!/usr/bin/env bash
# An animated PNG as Pillow 13 writes it: a red square on white moves to the right; from the second frame on only the part
# that changed is stored (dispose_op APNG_DISPOSE_OP_NONE). Composed by fast-png 8.0.0 (npm, of image-js) with `decodeApng`.
# Expected: the frames that were saved: with dispose NONE the canvas stays as it is before the next frame is drawn on it
# (PNG, third edition, 11.3.6.2), as Pillow and OpenCV read them.
# Seen: each frame that is smaller than the canvas is drawn on an empty one: white around it becomes black (0, 0, 0). Its own
# dispose_op is applied before it is drawn, not that of the frame before it behind that.
# Needs node and npm. Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check pillow==13.0.0 opencv-python-headless==5.0.0.93
cd "$folder"
echo '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --save-exact fast-png@8.0.0
cat > read.js <<'JAVASCRIPT'
import { readFileSync } from 'node:fs'
import { decodeApng } from 'fast-png'

const { frames } = decodeApng(readFileSync('animation.png'))
console.log(JSON.stringify(frames.map(({ data }) => Array.from(data))))
JAVASCRIPT
venv/bin/python - <<'PYTHON'
import json
import subprocess
import sys

import cv2
from PIL import Image, ImageSequence

SIDE = 12
WHITE, RED = (255, 255, 255), (255, 0, 0)


def frame(left: int) -> Image.Image:
    picture = Image.new("RGB", (SIDE, SIDE), WHITE)
    picture.paste(RED, (left, 4, left + 3, 7))
    return picture


saved = [frame(left) for left in (1, 3, 5)]
saved[0].save("animation.png", save_all=True, append_images=saved[1:], duration=100)
with Image.open("animation.png") as animation:
    by_pillow = [part.convert("RGB").tobytes() for part in ImageSequence.Iterator(animation)]
_, animation = cv2.imreadanimation("animation.png")
by_opencv = [cv2.cvtColor(part[..., :3], cv2.COLOR_BGR2RGB).tobytes() for part in animation.frames]
answer = subprocess.run(["node", "read.js"], check=True, stdout=subprocess.PIPE).stdout
by_fast_png = [bytes(data) for data in json.loads(answer)]


def alike(frames: list[bytes]) -> list[bool]:
    return [found == expected.tobytes() for found, expected in zip(frames, saved, strict=True)]


corners = [tuple(data[:3]) for data in by_fast_png]
print(f"frames as saved: Pillow {alike(by_pillow)}, OpenCV {alike(by_opencv)}, fast-png {alike(by_fast_png)}")
print(f"the pixel at 0, 0 should be {WHITE} in each; fast-png {corners}")
as_noted = (
    all(alike(by_pillow))
    and all(alike(by_opencv))
    and alike(by_fast_png) == [True, False, False]
    and corners == [WHITE, (0, 0, 0), (0, 0, 0)]
)
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
