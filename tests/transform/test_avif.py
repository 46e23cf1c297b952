"""AVIF: its variants against what was written and libvips; aperture, turns and colours as its boxes say."""

import pytest
from PIL import Image, ImageChops

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture, prepare_pillow
from tests.transform.avifs import avif, avif_by_libvips, clap, imir, irot, nclx, seen_by_libvips
from tests.transform.drawing import encoded, photo, pixel

COLOUR = (200, 60, 30)
FULL = (96, 64)


@pytest.fixture(autouse=True)
def pillow() -> None:
    prepare_pillow()


def decoded(content: bytes) -> Decoded:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    done = decode(opened, needed=None, background=None, colours=Colours())
    assert opened.size == done.image.size
    assert (0, 0, *done.image.size) == done.box
    return done


def image_or_code(content: bytes) -> Image.Image | str:
    try:
        return decoded(content).image
    except StageError as error:
        return error.code


def furthest(one: Image.Image, other: Image.Image) -> int:
    """The largest difference in any channel, in levels of 255."""
    assert one.size == other.size
    return max(high for _low, high in ImageChops.difference(one.convert("RGBA"), other.convert("RGBA")).getextrema())


def drawn(mode: str) -> Image.Image:
    """Smooth, as subsampled chroma needs it."""
    across = Image.linear_gradient("L").rotate(90).resize(FULL)
    down = Image.linear_gradient("L").resize(FULL)
    bands = {"L": (across,), "LA": (across, down), "RGB": (across, down, across), "RGBA": (across, down, across, down)}
    return Image.merge(mode, bands[mode])


@pytest.mark.parametrize("levels", ["full", "limited"])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_every_variant_that_pillow_writes_has_its_pixels(subsampling: str, mode: str, levels: str) -> None:
    content = encoded(drawn(mode), "AVIF", quality=100, subsampling=subsampling, range=levels, speed=10)

    image = decoded(content).image

    assert mode == image.mode
    assert furthest(drawn(mode), image) < 8
    assert furthest(seen_by_libvips(content), image) < 8


@pytest.mark.parametrize("levels", ["full", "limited"])
@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_has_its_pixels_in_both_ranges(mode: str, levels: str) -> None:
    content = encoded(drawn(mode), "AVIF", quality=100, subsampling="4:0:0", range=levels, speed=10)

    assert furthest(drawn(mode), decoded(content).image) < 3


def test_premultiplied_colours_are_divided_by_their_alpha() -> None:
    content = encoded(drawn("RGBA"), "AVIF", quality=100, subsampling="4:4:4", alpha_premultiplied=True)

    seen, meant = decoded(content).image.crop((0, 32, *FULL)), drawn("RGBA").crop((0, 32, *FULL))

    assert furthest(meant, seen) < 5


@pytest.mark.parametrize("subsampled", [False, True], ids=["4:4:4", "4:2:0"])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA"])
@pytest.mark.parametrize("depth", [8, 10, 12])
def test_every_depth_has_its_pixels(depth: int, mode: str, subsampled: bool) -> None:
    content = avif_by_libvips(drawn(mode), depth=depth, subsampled=subsampled)

    image = decoded(content).image

    assert furthest(drawn(mode), image) < 8
    assert furthest(seen_by_libvips(content), image) < 8


@pytest.mark.parametrize("matrix", range(18))
def test_a_matrix_gives_the_right_pixels_or_is_unsupported(matrix: int) -> None:
    content = avif(drawn("RGB"), colours=nclx(1, 13, matrix=matrix))

    seen = image_or_code(content)

    if isinstance(seen, Image.Image):
        assert furthest(seen_by_libvips(content), seen) < 4
    else:
        assert Code.IMAGE_UNSUPPORTED == seen


@pytest.mark.parametrize(
    ("aperture", "expected"),
    [
        (clap(48, 32), (24, 16, 72, 48)),
        (clap(48, 32, 5, -7), (29, 9, 77, 41)),
        (clap(47, 31, 1, -1, 2), (25, 16, 72, 47)),
        (clap(47, 31), (24, 16, 71, 47)),
        (clap(96, 64), (0, 0, 96, 64)),
    ],
)
def test_a_clean_aperture_is_cut_out(aperture: bytes, expected: tuple[int, int, int, int]) -> None:
    result = decoded(avif(photo(*FULL), [aperture]))

    whole = decoded(avif(photo(*FULL))).image
    assert whole.crop(expected).tobytes() == result.image.tobytes()
    assert () == result.notes


@pytest.mark.parametrize(
    "properties",
    [[clap(48, 32, 25)], [clap(97, 64)], [clap(0, 32)], [clap(48, 32, 0, 0, 0), clap(2, 2)], [irot(2), clap(48, 32)]],
    ids=["beyond", "too-large", "nothing", "two", "after-a-turn"],
)
def test_an_aperture_that_cannot_be_cut_out_is_ignored_with_a_note(properties: list[bytes]) -> None:
    result = decoded(avif(photo(*FULL), properties))

    assert FULL == result.image.size
    assert ("clean aperture ignored: it is not a part of the stored picture",) == result.notes


@pytest.mark.parametrize("axis", [None, 0, 1])
@pytest.mark.parametrize("quarters", range(4))
def test_turns_and_mirrors_are_done_in_the_order_of_the_file(quarters: int, axis: int | None) -> None:
    mirror = [] if axis is None else [imir(axis)]

    for moves in ([irot(quarters), *mirror], [*mirror, irot(quarters)]):
        content = avif(photo(*FULL), [clap(48, 30, 3, 1), *moves])

        assert furthest(seen_by_libvips(content), decoded(content).image) < 4


def test_exif_has_no_say_and_never_fails_a_picture() -> None:
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "long enough for more than the orientation to be kept"
    content = encoded(photo(*FULL), "AVIF", exif=exif)
    at = content.index(b"MM\0*")

    for wrong in (b"XX\0*", b"MM\0*\xff\xff\xff\xff", b"\0" * 20):
        assert (64, 96) == decoded(content[:at] + wrong + content[at + len(wrong) :]).image.size


@pytest.mark.parametrize(
    ("colours", "expected", "note"),
    [
        (nclx(1, 13), COLOUR, ""),
        (nclx(2, 2), COLOUR, ""),
        (nclx(1, 1), COLOUR, ""),
        (nclx(12, 13), (217, 42, 0), "colours converted from Display P3 (nclx)"),
        (nclx(12, 2), (217, 42, 0), "colours converted from Display P3 (nclx)"),
        (nclx(9, 14), (247, 0, 0), "colours converted from BT.2020 (nclx)"),
        (nclx(1, 8), (229, 133, 96), "colours converted from BT.709 with linear light (nclx)"),
        (nclx(3, 13), COLOUR, "nclx ignored: no colours are known by 3, 13"),
        (b"", COLOUR, ""),
    ],
)
def test_colours_are_what_nclx_says(colours: bytes, expected: tuple[int, ...], note: str) -> None:
    result = decoded(avif(Image.new("RGB", (64, 64), COLOUR), colours=colours))

    assert all(abs(a - b) <= 2 for a, b in zip(expected, pixel(result.image, 9, 9), strict=True)), result.image
    assert ((note,) if note else ()) == result.notes


def test_the_colours_of_a_film_are_found_with_its_first_frame() -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in (COLOUR, "blue")]
    content = encoded(frames[0], "AVIF", save_all=True, append_images=frames[1:], quality=100, subsampling="4:4:4")
    p3 = content.replace(nclx(1, 13), nclx(12, 13))

    assert ("colours converted from Display P3 (nclx)",) == decoded(p3).notes
