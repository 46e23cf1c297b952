"""TIFF beyond the matrix: what is refused and by which name, JPEG and fax inside, cut, damaged and unusual files."""

import struct
from contextlib import suppress
from io import BytesIO
from typing import Any

import imagecodecs
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from batchproc.errors import Code, Retry, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, decode, open_picture, prepare_pillow
from tests.transform.drawing import difference, encoded, photo
from tests.transform.tiffs import (
    BITS,
    COLOUR_MAP,
    COMPRESSION,
    DEFLATE,
    FLOAT,
    HEIGHT,
    LONG,
    LZW,
    NONE,
    PACKBITS,
    PHOTOMETRIC,
    PREDICTOR,
    ROWS_PER_STRIP,
    SAMPLES,
    SHORT,
    SIGNED,
    STRIP_LENGTHS,
    STRIP_OFFSETS,
    TILE_WIDTH,
    UNSIGNED,
    WIDTH,
    Samples,
    assembled,
    packbits,
    tiff,
)

GREY, RGB, PALETTE, CMYK, YCBCR, LAB = 1, 2, 3, 5, 6, 8
UNASSOCIATED = 2
NEW_SUBFILE_TYPE, ORIENTATION, SUB_IFDS, INK_SET, DOT_RANGE, JPEG_TABLES = 254, 274, 330, 332, 336, 347
COEFFICIENTS, SUBSAMPLING, REFERENCE_LEVELS = 529, 530, 532
JPEG, ZSTD, WEBP = 7, 50000, 50001
REDUCED, MASK = 1, 4


@pytest.fixture(autouse=True)
def pillow() -> None:
    prepare_pillow()


def seen(content: bytes) -> Image.Image:
    opened = open_picture(content, formats=FORMATS, max_pixels=10_000_000)
    return decode(opened, needed=None, background=None, colours=Colours()).image


def failure(content: bytes) -> StageError:
    with pytest.raises(StageError) as caught:
        seen(content)
    return caught.value


def colours_of(image: Image.Image) -> set[Any]:
    """The colours that occur."""
    return {colour for _count, colour in image.getcolors(1 << 16) or []}


def flat(*levels: float, kind: Any = np.uint8) -> Samples:
    """A picture of 12 x 10 px, all of one colour."""
    return np.full((10, 12, len(levels)), levels, kind)


def pixels(picture: Image.Image) -> Samples:
    """RGB pixels as samples."""
    return np.asarray(picture).reshape(picture.height, picture.width, -1)


def tags_of(samples: Samples, colours: int, compression: int = NONE) -> dict[int, Any]:
    """The tags of one picture of 8 bits in one strip."""
    height, width, count = samples.shape
    return {
        WIDTH: (LONG, [width]),
        HEIGHT: (LONG, [height]),
        BITS: (SHORT, [8] * count),
        COMPRESSION: (SHORT, [compression]),
        PHOTOMETRIC: (SHORT, [colours]),
        SAMPLES: (SHORT, [count]),
        ROWS_PER_STRIP: (LONG, [height]),
    }


def with_blocks(samples: Samples, blocks: list[bytes], *, colours: int, compression: int, **tags: Any) -> bytes:
    """One picture whose strip is already compressed."""
    return assembled([(tags_of(samples, colours, compression) | tags.get("tags", {}), blocks)])


@pytest.mark.parametrize("tile", [None, (16, 16)], ids=["strips", "tiles"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("compression", [NONE, DEFLATE], ids=["raw", "deflate"])
@pytest.mark.parametrize(
    ("colours", "levels", "expected"),
    [
        (RGB, (50, 100, 200), (50, 100, 200)),
        (RGB, (50, 100, 200, 80), (50, 100, 200, 80)),
        (CMYK, (50, 100, 200, 0), (205, 155, 55)),
        (GREY, (10, 200), (10, 200)),
    ],
    ids=["rgb", "rgba", "cmyk", "grey-alpha"],
)
def test_planes_of_16_bits_show_their_upper_bytes(
    colours: int, levels: tuple[int, ...], expected: tuple[int, ...], compression: int, order: str, tile: Any
) -> None:
    samples = flat(*(level << 8 | 5 + at for at, level in enumerate(levels)), kind=np.uint16)
    extra = (UNASSOCIATED,) if len(levels) in (2, 4) and colours != CMYK else ()

    content = tiff(
        samples, colours=colours, bits=16, extra=extra, is_planar=True, order=order, compression=compression, tile=tile
    )

    assert {expected} == colours_of(seen(content))


@pytest.mark.parametrize("compression", [PACKBITS, LZW, DEFLATE])
def test_opaque_grey_in_two_compressed_planes_is_opaque(compression: int) -> None:
    content = tiff(flat(10, 200), colours=GREY, extra=(UNASSOCIATED,), is_planar=True, compression=compression)

    assert ("LA", {(10, 200)}) == (seen(content).mode, colours_of(seen(content)))


def raw(samples: Samples, colours: int = GREY, **options: Any) -> bytes:
    return tiff(samples, colours=colours, **options)


REFUSED = [
    ("10 bits", raw(flat(5, kind=np.uint16), bits=10), "grey in unsigned samples of 10 bits"),
    ("14 bits", raw(flat(5, kind=np.uint16), bits=14), "grey in unsigned samples of 14 bits"),
    ("64 bits", raw(flat(5, kind=np.uint64), bits=64), "grey in unsigned samples of 64 bits"),
    ("rgb of 32 bits", raw(flat(5, 6, 7, kind=np.uint32), RGB, bits=32), "RGB in unsigned samples of 32 bits"),
    ("float rgb", raw(flat(0, 0, 0, kind=np.float32), RGB, bits=32, sample_format=FLOAT), "float samples of 32 bits"),
    ("float16", raw(flat(0, kind=np.float16), bits=16, sample_format=FLOAT), "float samples of 16 bits"),
    ("float64", raw(flat(0, kind=np.float64), bits=64, sample_format=FLOAT), "float samples of 64 bits"),
    ("signed 8", raw(flat(5, kind=np.int8), sample_format=SIGNED), "signed samples of 8 bits"),
    ("signed 16", raw(flat(5, kind=np.int16), bits=16, sample_format=SIGNED), "signed samples of 16 bits"),
    ("complex", raw(flat(5, kind=np.complex64), bits=64, sample_format=6), "complex samples of 64 bits"),
    ("lab of 16 bits", raw(flat(5, 6, 7, kind=np.uint16), LAB, bits=16), "CIELab in unsigned samples of 16 bits"),
    ("palette of 16 bits", raw(flat(5, kind=np.uint16), PALETTE, bits=16), "a palette in unsigned samples of 16 bits"),
    ("unlike bits", raw(flat(1, 2, 3), RGB, tags={BITS: (SHORT, [5, 6, 5])}), "bits per sample of 5, 6, 5"),
    ("mask", raw(flat(1), 4), "a transparency mask"),
    ("icc lab", raw(flat(1, 2, 3), 9), "ICCLab colours"),
    ("camera", raw(flat(1, kind=np.uint16), 32803, bits=16), "the colour filter array of a camera"),
    ("logluv", raw(flat(1, 2, 3), 32845, tags={COMPRESSION: (SHORT, [34676])}), "LogLuv compression"),
    ("unheard-of colours", raw(flat(1), 77), "unknown colours (photometric interpretation 77)"),
    ("unheard-of compression", raw(flat(1), tags={COMPRESSION: (SHORT, [77])}), "unknown (number 77) compression"),
    ("jpeg 2000", raw(flat(1), tags={COMPRESSION: (SHORT, [34712])}), "JPEG 2000 compression"),
    ("webp", raw(flat(1, 2, 3), RGB, tags={COMPRESSION: (SHORT, [WEBP])}), "WebP compression"),
    ("other inks", raw(flat(1, 2, 3, 4), CMYK, tags={INK_SET: (SHORT, [2])}), "inks other than CMYK"),
    ("inverted inks", raw(flat(1, 2, 3, 4), CMYK, tags={DOT_RANGE: (SHORT, [255, 0])}), "a DotRange"),
    ("fax of 8 bits", raw(flat(1), tags={COMPRESSION: (SHORT, [4])}), "CCITT compression of grey"),
    ("jpeg of a palette", raw(flat(1), PALETTE, tags={COMPRESSION: (SHORT, [JPEG])}), "JPEG compression of a palette"),
    ("predictor without", raw(flat(1), tags={PREDICTOR: (SHORT, [2])}), "predictor 2"),
    ("predictor 3", raw(flat(1), compression=DEFLATE, tags={PREDICTOR: (SHORT, [3])}), "predictor 3"),
    ("few bits predicted", raw(flat(1), bits=4, compression=LZW, tags={PREDICTOR: (SHORT, [2])}), "predictor 2"),
    ("odd subsampling", raw(flat(1, 2, 3), YCBCR, tags={SUBSAMPLING: (SHORT, [1, 4])}), "YCbCr subsampling (1, 4)"),
    ("planar subsampling", raw(flat(1, 2, 3), YCBCR, is_planar=True), "subsampled YCbCr in separate planes"),
    ("unexplained samples", raw(flat(1, 2)), "2 samples per pixel, of which 1 are not explained"),
    ("left-out strips", raw(flat(1), compression=DEFLATE, tags={STRIP_LENGTHS: (LONG, [0])}), "left out"),
    ("huge tiles", raw(flat(1), tile=(16, 16), tags={TILE_WIDTH: (LONG, [1 << 21])}), "tiles of 2097152 x 16 px"),
]


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED])
def test_what_has_no_meaning_here_is_refused_by_name_and_for_good(content: bytes, words: str) -> None:
    error = failure(content)

    assert (Code.IMAGE_UNSUPPORTED, Retry.NEVER) == (error.code, error.retry_in("transform"))
    assert error.message.startswith("tiff with ")
    assert words in error.message


def test_canon_raw_files_are_no_tiffs() -> None:
    assert "Canon CR2 is not supported" == failure(b"II*\x00\x10\x00\x00\x00CR\x02\x00" + bytes(100)).message


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_big", [False, True], ids=["classic", "big"])
def test_both_byte_orders_of_both_kinds_are_read(order: str, is_big: bool) -> None:
    content = tiff(flat(0x1234, kind=np.uint16), colours=GREY, bits=16, order=order, is_big=is_big)

    assert {0x12} == colours_of(seen(content))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    ("compression", "predictor"), [(NONE, 1), (PACKBITS, 1), (LZW, 2), (DEFLATE, 3)], ids=["raw", "run", "2", "3"]
)
def test_floats_from_0_to_1_are_levels(compression: int, predictor: int, order: str) -> None:
    samples = (np.arange(120, dtype=np.float32) / 119).reshape(10, 12, 1)
    stored = samples.view(np.uint32) if predictor == 2 else samples  # the difference of the bits

    content = tiff(
        stored, colours=GREY, bits=32, sample_format=FLOAT, compression=compression, predictor=predictor, order=order
    )

    assert [round(255 * at / 119) for at in range(120)] == [*seen(content).tobytes()]


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("sample_format", [UNSIGNED, SIGNED], ids=["unsigned", "signed"])
@pytest.mark.parametrize("compression", [NONE, DEFLATE])
def test_integers_of_32_bits_are_levels_of_16(compression: int, sample_format: int, order: str) -> None:
    samples = flat(0xABCD, kind=np.uint32)

    content = tiff(
        samples, colours=GREY, bits=32, sample_format=sample_format, compression=compression, order=order
    )

    assert {0xAB} == colours_of(seen(content))


def test_a_palette_of_8_bit_entries_is_taken_as_such() -> None:
    entries = [*range(256), *range(255, -1, -1), *[7] * 256]

    content = tiff(flat(100), colours=PALETTE, tags={COLOUR_MAP: (SHORT, entries)})

    assert {(100, 155, 7)} == colours_of(seen(content))


def test_cielab_is_brought_to_srgb() -> None:
    red = flat(round(54.29 * 2.55), 81, 70)  # D50

    assert all(abs(a - b) < 6 for a, b in zip((255, 0, 0), seen(tiff(red, colours=LAB)).getpixel((5, 5)), strict=True))


def subsampled(samples: Samples, across: int, down: int) -> bytes:
    """Units of luma in rows, then one Cb and one Cr (TIFF 6.0, section 21), the edges repeated."""
    height, width, _ = samples.shape
    padded = np.pad(samples, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
    return b"".join(
        padded[top : top + down, left : left + across, 0].tobytes() + padded[top, left, 1:].tobytes()
        for top in range(0, padded.shape[0], down)
        for left in range(0, padded.shape[1], across)
    )


@pytest.mark.parametrize("compression", [NONE, PACKBITS])
@pytest.mark.parametrize("factors", [(1, 1), (1, 2), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)], ids=str)
def test_subsampled_ycbcr_shows_the_nearest_chroma(factors: tuple[int, int], compression: int) -> None:
    across, down = factors
    whole = pixels(photo(21, 14).convert("YCbCr"))
    chroma = whole[::down, ::across, 1:].repeat(down, axis=0).repeat(across, axis=1)[:14, :21]
    expected = Image.fromarray(np.dstack([whole[..., 0], chroma]), "YCbCr").convert("RGB")
    strip = subsampled(whole, across, down)

    content = with_blocks(
        whole,
        [packbits(strip) if compression == PACKBITS else strip],
        colours=YCBCR,
        compression=compression,
        tags={SUBSAMPLING: (SHORT, factors)},
    )

    assert np.abs(pixels(seen(content)).astype(int) - pixels(expected)).max() <= 2


def jpeg(picture: Image.Image, **options: Any) -> bytes:
    return encoded(picture, "JPEG", **({"quality": 90} | options))


JPEGS = [
    ("grey", photo(40, 30, "L"), GREY, {}),
    ("4:4:4", photo(40, 30), YCBCR, {"subsampling": 0}),
    ("4:2:2", photo(40, 30), YCBCR, {"subsampling": 1}),
    ("4:2:0", photo(40, 30), YCBCR, {"subsampling": 2}),
    ("progressive", photo(40, 30), YCBCR, {"progressive": True}),
    ("rgb", photo(40, 30), RGB, {"keep_rgb": True}),
]


@pytest.mark.parametrize(("picture", "colours", "options"), [case[1:] for case in JPEGS], ids=[c[0] for c in JPEGS])
def test_jpeg_inside_has_the_pixels_of_the_jpeg(picture: Image.Image, colours: int, options: dict[str, Any]) -> None:
    data = jpeg(picture, **options)

    content = with_blocks(pixels(picture), [data], colours=colours, compression=JPEG)

    assert Image.open(BytesIO(data)).tobytes() == seen(content).tobytes()


def test_jpegs_that_share_their_tables_are_put_together() -> None:
    content = encoded(photo(900, 90), "TIFF", compression="jpeg")  # libtiff writes strips

    with tifffile.TiffFile(BytesIO(content)) as file:
        page = file.pages.first
        assert (True, True) == (JPEG_TABLES in page.tags, len(page.dataoffsets) > 1)
        assert page.asarray().tobytes() == seen(content).tobytes()


def test_tiles_of_jpeg_are_put_together() -> None:
    file = BytesIO()
    tifffile.imwrite(file, pixels(photo(40, 24)), photometric="ycbcr", compression="jpeg", tile=(16, 16))
    content = file.getvalue()

    assert tifffile.imread(BytesIO(content)).tobytes() == seen(content).tobytes()


@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(200)], ids=["cut", "with-an-end", "zeroed"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_jpeg_data_that_end_early_inside_a_whole_file_are_damage(share: float, end: bytes) -> None:
    picture = photo(64, 48)
    data = jpeg(picture)

    content = with_blocks(
        pixels(picture), [data[: int(len(data) * share)] + end], colours=YCBCR, compression=JPEG
    )

    assert (Code.IMAGE_CORRUPT, Retry.NEVER) == (failure(content).code, failure(content).retry_in("transform"))


@pytest.mark.parametrize(
    ("bits", "lossless", "words"),
    [(12, False, "JPEG compression of 12 bits"), (8, True, "lossless or hierarchical JPEG compression")],
    ids=["12-bits", "lossless"],
)
def test_other_processes_of_jpeg_are_refused(bits: int, lossless: bool, words: str) -> None:
    grey = pixels(photo(32, 24, "L"))[..., 0].astype(np.uint16 if bits > 8 else np.uint8)
    data = imagecodecs.jpeg_encode(grey, bitspersample=bits, lossless=lossless)

    content = with_blocks(grey[..., np.newaxis], [data], colours=GREY, compression=JPEG)

    assert f"tiff with {words}" == failure(content).message


def test_jpeg_of_other_ycbcr_is_refused() -> None:
    tags = {COEFFICIENTS: (11, [0.2126, 0.7152, 0.0722])}

    content = with_blocks(flat(1, 2, 3), [jpeg(photo(12, 10))], colours=YCBCR, compression=JPEG, tags=tags)

    assert "tiff with YCbCr that is not that of Rec. 601 in full range" == failure(content).message


@pytest.mark.parametrize("subsampling", [0, 1, 2], ids=["444", "422", "420"])
def test_old_style_jpeg_has_the_pixels_of_the_jpeg_inside(subsampling: int) -> None:
    picture = photo(48, 32).filter(ImageFilter.GaussianBlur(8))  # chroma is not interpolated here
    data = jpeg(picture, subsampling=subsampling)
    scan = data.index(b"\xff\xda")
    start = scan + 2 + int.from_bytes(data[scan + 2 : scan + 4])
    tags = tags_of(pixels(picture), YCBCR, 6) | {512: (SHORT, [1]), 513: (LONG, [8]), 514: (LONG, [len(data)])}
    tags |= {STRIP_OFFSETS: (LONG, [8 + start]), STRIP_LENGTHS: (LONG, [len(data) - start])}

    content = assembled([(tags, [data])])

    assert difference(Image.open(BytesIO(data)), seen(content)) < 3


@pytest.mark.parametrize("compression", ["tiff_ccitt", "group3", "group4"])
@pytest.mark.parametrize("is_white_zero", [False, True])
def test_fax_compressions_show_the_bits(compression: str, is_white_zero: bool) -> None:
    picture = photo(61, 40, "L").point(lambda level: 255 * (level > 120)).convert("1")

    content = encoded(picture, "TIFF", compression=compression, tiffinfo={262: int(not is_white_zero)})

    assert picture.convert("L").tobytes() == seen(content).tobytes()


def test_zstandard_is_read() -> None:
    samples = pixels(photo(40, 30))

    content = with_blocks(samples, [imagecodecs.zstd_encode(samples.tobytes())], colours=RGB, compression=ZSTD)

    assert samples.tobytes() == seen(content).tobytes()


def page(levels: tuple[int, ...], kind: int | None = None, **tags: Any) -> tuple[dict[int, Any], list[bytes]]:
    """A page of one colour, larger the brighter it is, of a NewSubfileType."""
    samples = np.full((levels[0], levels[0], len(levels)), levels, np.uint8)
    mark = {} if kind is None else {NEW_SUBFILE_TYPE: (LONG, [kind])}
    return tags_of(samples, RGB) | mark | tags.get("tags", {}), [samples.tobytes()]


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        ([page((20, 1, 1)), page((40, 2, 2))], 20),
        ([page((20, 1, 1), 2), page((40, 2, 2), 2)], 20),
        ([page((20, 1, 1), REDUCED), page((40, 2, 2))], 40),
        ([page((20, 1, 1), REDUCED), page((30, 1, 1), MASK), page((40, 2, 2), 0), page((50, 2, 2))], 40),
        ([page((20, 1, 1), REDUCED), page((30, 1, 1), REDUCED)], 20),
    ],
    ids=["pages", "marked-pages", "thumbnail-first", "thumbnail-and-mask-first", "only-thumbnails"],
)
def test_the_picture_is_the_first_page_that_is_no_thumbnail(pages: Any, expected: int) -> None:
    assert (expected, expected) == seen(assembled(pages)).size


def test_a_picture_below_its_thumbnail_is_found() -> None:
    full = assembled([page((40, 2, 2), 0)])
    inner = struct.unpack_from("<L", full, 4)[0]
    thumbnail = assembled([page((20, 1, 1), REDUCED, tags={SUB_IFDS: (LONG, [inner])})])
    end = struct.unpack_from("<L", thumbnail, 4)[0]
    behind = len(full)
    moved = bytearray(full + thumbnail)
    moved[4:8] = struct.pack("<L", behind + end)
    for at in range(behind + end + 2, len(moved) - 12, 12):
        tag, _kind, count, value = struct.unpack_from("<HHLL", moved, at)
        if tag == STRIP_OFFSETS or (tag == BITS and count > 1):
            struct.pack_into("<L", moved, at + 8, value + behind)

    assert (40, 40) == seen(bytes(moved)).size


@pytest.mark.parametrize("sub", [[], [0xFFFFFF], [6]], ids=["none", "beyond-the-end", "nonsense"])
def test_a_picture_is_found_behind_its_thumbnail_whatever_that_points_to(sub: list[int]) -> None:
    thumbnail = page((20, 1, 1), REDUCED, tags={SUB_IFDS: (LONG, sub)})

    assert (40, 40) == seen(assembled([thumbnail, page((40, 2, 2))])).size


def test_a_thumbnail_does_not_stand_in_for_a_picture_that_is_cut_off() -> None:
    content = assembled([page((20, 1, 1), REDUCED), page((40, 2, 2))])

    assert Code.TRUNCATED == failure(content[:-100]).code


def test_pages_that_point_in_a_circle_come_to_an_end() -> None:
    content = bytearray(assembled([page((20, 1, 1), REDUCED)]))
    first = struct.unpack_from("<L", content, 4)[0]
    entries = struct.unpack_from("<H", content, first)[0]
    struct.pack_into("<L", content, first + 2 + 12 * entries, first)

    assert (20, 20) == seen(bytes(content)).size


STORED = [
    ("raw", {}),
    ("tiles", {"tile": (16, 16)}),
    ("packbits", {"compression": PACKBITS}),
    ("lzw", {"compression": LZW}),
    ("deflate", {"compression": DEFLATE, "rows": 7}),
    ("planes", {"is_planar": True}),
    ("big", {"is_big": True}),
]


@pytest.mark.parametrize("is_in_front", [False, True], ids=["directory-behind", "directory-in-front"])
@pytest.mark.parametrize("options", [case[1] for case in STORED], ids=[case[0] for case in STORED])
def test_a_tiff_cut_anywhere_is_truncated_and_tried_once_more(options: dict[str, Any], is_in_front: bool) -> None:
    content = tiff(pixels(photo(40, 30)), colours=RGB, **options)
    content = directory_first(content) if is_in_front else content
    whole = seen(content).tobytes()

    for length in (9, len(content) // 10, len(content) // 2, len(content) - 40, len(content) - 12):
        error = failure(content[:length])

        assert (Code.TRUNCATED, Retry.ONCE) == (error.code, error.retry_in("transform")), length
    assert pixels(photo(40, 30)).tobytes() == whole


def directory_first(content: bytes) -> bytes:
    """The same file in another order: the directory and its values, then the pixels."""
    is_big = content[2] == 43
    head, link, word = (16, 8, "Q") if is_big else (8, 4, "L")
    start = struct.unpack_from(f"<{word}", content, link)[0]
    shift = len(content) - start
    moved = bytearray(content[:head] + content[start:] + content[head:start])
    struct.pack_into(f"<{word}", moved, link, head)
    entries = struct.unpack_from("<Q" if is_big else "<H", moved, head)[0]
    size, first = (20, head + 8) if is_big else (12, head + 2)
    for at in range(first, first + size * entries, size):
        tag, kind, count, value = struct.unpack_from(f"<HH{word}{word}", moved, at)
        here = at + size - struct.calcsize(f"={word}")
        length = count * (2 if kind == SHORT else 4)
        if length > struct.calcsize(f"={word}"):
            value += head - start
            struct.pack_into(f"<{word}", moved, here, value)
            here = value
        if tag in (STRIP_OFFSETS, 324):
            offsets = struct.unpack_from(f"<{count}L", moved, here)
            struct.pack_into(f"<{count}L", moved, here, *(offset + shift for offset in offsets))
    return bytes(moved)


DAMAGED = [
    ("no width", {WIDTH: (LONG, [0])}),
    ("no strips", {STRIP_OFFSETS: (LONG, [])}),
    ("too few strips", {ROWS_PER_STRIP: (LONG, [1])}),
    ("strips of no rows", {ROWS_PER_STRIP: (LONG, [0])}),
    ("too few samples", {SAMPLES: (SHORT, [2]), BITS: (SHORT, [8])}),
    ("a width of text", {WIDTH: (12, [5.5])}),
]


@pytest.mark.parametrize("tags", [case[1] for case in DAMAGED], ids=[case[0] for case in DAMAGED])
def test_a_directory_without_sense_is_corrupt(tags: dict[int, Any]) -> None:
    assert Code.IMAGE_CORRUPT == failure(tiff(flat(1, 2, 3), colours=RGB, tags=tags)).code


def test_tags_that_do_not_decide_the_pixels_never_fail_a_picture() -> None:
    odd = {
        270: (2, [*b"no end"]),
        305: (SHORT, []),
        33432: (12, [float("nan")]),
        34665: (LONG, [0xFFFFFFF0]),
        34675: (7, [*b"no profile"]),
        65000: (SHORT, [1, 2, 3]),
        ORIENTATION: (11, [2.5]),
        NEW_SUBFILE_TYPE: (11, [0.5]),
    }
    content = tiff(flat(1, 2, 3), colours=RGB, tags=odd)

    assert {(1, 2, 3)} == colours_of(seen(content))


def test_missing_lengths_of_raw_strips_are_worked_out() -> None:
    content = tiff(flat(1, 2, 3), colours=RGB, rows=4, tags={STRIP_LENGTHS: (LONG, [0, 0, 0])})

    assert {(1, 2, 3)} == colours_of(seen(content))


@pytest.mark.parametrize("compression", [LZW, DEFLATE])
def test_damaged_pixels_are_corrupt_and_nothing_is_printed(compression: int, capfd: Any) -> None:
    content = bytearray(tiff(pixels(photo(40, 30)), colours=RGB, compression=compression))
    content[9:600] = bytes(591)

    assert Code.IMAGE_CORRUPT == failure(bytes(content)).code
    assert ("", "") == tuple(capfd.readouterr())


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_a_mutated_tiff_is_a_picture_or_a_failure_of_the_stage(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(SMALL)))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=6)):
        content[at] = data.draw(st.integers(0, 255))

    with suppress(StageError):
        seen(bytes(content))


SMALL = [tiff(np.zeros((6, 5, 3), np.uint8), colours=RGB, **options) for _name, options in STORED]
