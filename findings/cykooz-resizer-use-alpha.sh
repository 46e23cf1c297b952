#!/usr/bin/env bash
# An RGBA picture of Pillow's, half of it invisible red and half opaque blue, made 1 px large by cykooz-resizer 4.0.1 with
# ResizeOptions(use_alpha=False), which its documentation says ignores the alpha channel.
# Expected: every channel is averaged by itself, (128, 0, 128, 128), as `Resizer.resize` does with the same bytes.
# Seen: `Resizer.resize_pil` sets use_alpha to true for every RGBA picture whatever was asked for: (0, 0, 255, 128).
# Exits with 0 while this is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check cykooz-resizer==4.0.1 pillow==13.0.0
"$folder/venv/bin/python" - <<'PYTHON'
import sys

from cykooz_resizer import FilterType, ImageData, PixelType, ResizeAlg, ResizeOptions, Resizer
from PIL import Image

picture = Image.new("RGBA", (8, 8), (255, 0, 0, 0))
picture.paste((0, 0, 255, 255), (4, 0, 8, 8))
options = ResizeOptions(resize_alg=ResizeAlg.convolution(FilterType.bilinear), use_alpha=False)

of_bytes = ImageData(1, 1, PixelType.U8x4)
Resizer().resize(ImageData(8, 8, PixelType.U8x4, picture.tobytes()), of_bytes, options)
of_pillow = Image.new("RGBA", (1, 1))
Resizer().resize_pil(picture, of_pillow, options)

found = tuple(of_bytes.get_buffer()), of_pillow.getpixel((0, 0))
print(f"resize      {found[0]}\nresize_pil  {found[1]}")
as_noted = found == ((128, 0, 128, 128), (0, 0, 255, 128))
print("as noted" if as_noted else "changed")
sys.exit(not as_noted)
PYTHON
