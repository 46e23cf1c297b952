"""What the pixels of a TIFF's samples are, by the tables of `modes` and `tiff_directory`, worked out a second time."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from batchproc.transform.modes import to_working_mode
from tests.transform.tiffs import Samples

WHITE_IS_ZERO, GREY, RGB, PALETTE, CMYK, YCBCR, LAB = 0, 1, 2, 3, 5, 6, 8
COLOUR_SAMPLES = {WHITE_IS_ZERO: 1, GREY: 1, RGB: 3, PALETTE: 1, CMYK: 4, YCBCR: 3, LAB: 3}
UNSPECIFIED, ASSOCIATED, UNASSOCIATED = 0, 1, 2


def is_decodable(colours: int, extra: Sequence[int], bits: int, *, is_planar: bool) -> bool:
    """The table of `tiff_directory` for unsigned samples; what is not in it is refused."""
    has_alpha = any(kind in extra for kind in (ASSOCIATED, UNASSOCIATED))
    if has_alpha and (colours in (CMYK, YCBCR, LAB) or (colours in (WHITE_IS_ZERO, PALETTE) and ASSOCIATED in extra)):
        return False
    if colours == YCBCR:
        return bits == 8 and not extra
    count = 1 if is_planar else COLOUR_SAMPLES[colours] + len(extra)
    if not is_planar and any(kind for kind in extra[max(0, 4 - COLOUR_SAMPLES[colours]) :]):
        return False
    if colours in (LAB, PALETTE) and bits == 16:
        return False
    if bits == 32:
        return colours == GREY and count == 1 and not has_alpha
    if colours == LAB or (colours == PALETTE and has_alpha):
        return bits == 8
    return count <= {1: 1, 2: 1, 4: 1, 8: 6, 16: 4}.get(bits, 0)


def meant(
    samples: Samples, colours: int, extra: Sequence[int], bits: int, palette: Sequence[int] = ()
) -> Samples:
    """What is to be seen of unsigned samples, in 8 bits: (height, width, bands)."""
    levels = samples >> 8 if bits >= 16 else samples.astype(np.uint16) * 255 // ((1 << bits) - 1)
    count = COLOUR_SAMPLES[colours]
    if colours == PALETTE:
        shown = (np.array(palette).reshape(3, -1) >> 8)[:, samples[..., 0].astype(int)].transpose(1, 2, 0)
    else:
        shown = _colours(levels[..., :count].astype(np.uint8), colours)
    kinds = [kind for kind in extra if kind != UNSPECIFIED]
    if not kinds:
        return shown
    alpha = levels[..., count + list(extra).index(kinds[0]), np.newaxis].astype(np.int64)
    if kinds[0] == ASSOCIATED:
        divided = np.minimum(255 * shown.astype(np.int64) // np.maximum(alpha, 1), 255)
        shown = np.where(alpha == 0, shown, divided)
    return np.concatenate([shown, alpha], axis=2)


def _colours(levels: Samples, colours: int) -> Samples:
    if colours == WHITE_IS_ZERO:
        return 255 - levels
    mode = {CMYK: "CMYK", YCBCR: "YCbCr", LAB: "LAB"}.get(colours)
    if mode is None:
        return levels
    height, width, _ = levels.shape
    image = Image.frombytes(mode, (width, height), np.ascontiguousarray(levels).tobytes())
    return np.asarray(to_working_mode(image))
