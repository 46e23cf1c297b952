"""PNG: critical chunks decide, ancillary ones say how the picture is meant to be seen and never fail it."""

import struct
import zlib

import pytest
from PIL import ImageCms

from batchproc.errors import Code, StageError
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture
from tests.transform.drawing import pixel
from tests.transform.pngs import SIGNATURE, chunk, header, png

COLOUR = (200, 60, 30)
ROWS = [[COLOUR] * 4] * 3
PIXELS = bytes(COLOUR) * 12
GREYS = [[(60,)] * 4] * 3

P3_NUMBERS = struct.pack(">8L", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
SRGB_NUMBERS = struct.pack(">8L", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
P3, P3_ON_SRGB = b"\x0c\x0d\x00\x01", (217, 42, 0)
LINEAR = struct.pack(">L", 100_000)
SRGB_GAMMA = struct.pack(">L", 45_455)


def decoded(content: bytes) -> Decoded:
    opened = open_picture(content, formats=FORMATS, max_pixels=1_000_000)
    return decode(opened, needed=None, background=None, colours=Colours())


def failure(content: bytes) -> StageError:
    with pytest.raises(StageError) as caught:
        decoded(content)
    return caught.value


def long_text(kind: bytes, size: int) -> bytes:
    head = {b"zTXt": b"Comment\0\0", b"iTXt": b"Comment\0\1\0\0\0", b"iCCP": b"icc\0\0"}[kind]
    return chunk(kind, head + zlib.compress(b"a" * size))


def srgb_profile() -> bytes:
    return b"sRGB\0\0" + zlib.compress(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())


@pytest.mark.parametrize("size", [1 << 20, (1 << 20) + 1, 9 << 20], ids=["1MiB", "more", "9MiB"])
@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_text_of_any_unpacked_size_is_skipped(kind: bytes, size: int) -> None:
    result = decoded(png(ROWS, before=[long_text(kind, size)], behind=[long_text(b"zTXt", size)]))

    assert PIXELS == result.image.tobytes()
    assert (kind == b"iCCP") == bool(result.notes)


SEEN = [b"eXIf", b"iCCP", b"cICP", b"sRGB", b"gAMA", b"cHRM", b"tRNS"]
KINDS = [*SEEN, b"tEXt", b"zTXt", b"iTXt", b"sBIT", b"bKGD", b"pHYs", b"hIST", b"sPLT", b"tIME", b"acTL", b"fcTL",
         b"fdAT", b"mDCV", b"cLLI", b"caBX", b"prVt"]  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_an_ancillary_chunk_with_a_wrong_checksum_is_ignored_with_a_note_when_it_would_be_seen(kind: bytes) -> None:
    broken = chunk(kind, b"\0" * 40, sound=False)

    result = decoded(png(ROWS, before=[broken], behind=[broken]))

    assert PIXELS == result.image.tobytes()
    note = (f"{kind.decode()} ignored: its checksum does not match",) if kind in SEEN else ()
    assert note == result.notes


@pytest.mark.parametrize("content", [b"", b"\0", b"\xff" * 7, b"\0" * 33, b"Raw profile type exif\0\0zz"], ids=len)
@pytest.mark.parametrize("kind", KINDS)
def test_a_malformed_ancillary_chunk_never_fails_a_picture(kind: bytes, content: bytes) -> None:
    broken = [chunk(kind, content)] * 2

    for picture in (
        png(ROWS, before=broken, behind=broken),
        png([[(0,)] * 4] * 3, colour_type=3, palette=bytes(COLOUR), before=broken),
    ):
        assert bytes(COLOUR) == decoded(picture).image.convert("RGB").tobytes()[:3]


def test_the_frames_of_an_animation_do_not_touch_its_default_image() -> None:
    outside = struct.pack(">LLLLLHHBB", 7, 9, 9, 3, 3, 1, 0, 9, 9)
    frames = [chunk(b"acTL", struct.pack(">LL", 0, 0)), chunk(b"fcTL", outside), chunk(b"fcTL", outside)]

    assert PIXELS == decoded(png(ROWS, before=frames, behind=[chunk(b"fdAT", b"\0\0\0\x05junk")])).image.tobytes()


def test_chunks_out_of_order_are_taken_as_they_are_meant() -> None:
    data = zlib.compress(b"\0\0" * 3)
    scattered = [chunk(b"IDAT", data[:5]), chunk(b"tEXt", b"a\0b"), chunk(b"IDAT"), chunk(b"IDAT", data[5:])]
    parts = [header(1, 3, 8, 3), chunk(b"tRNS", b"\x80"), chunk(b"PLTE", bytes(COLOUR)), *scattered, chunk(b"IEND")]

    assert (*COLOUR, 128) == pixel(decoded(SIGNATURE + b"".join(parts)).image, 0, 2)


def test_an_index_beyond_the_palette_is_black() -> None:
    content = png([[(0,), (1,), (255,)]], colour_type=3, palette=bytes(COLOUR))

    assert bytes((*COLOUR, 0, 0, 0, 0, 0, 0)) == decoded(content).image.tobytes()


@pytest.mark.parametrize(
    ("chunks", "code", "word"),
    [
        ([chunk(b"CgBI", b"\0" * 4), header(4, 3, 8, 2)], Code.IMAGE_UNSUPPORTED, "CgBI"),
        ([header(4, 3, 8, 2), chunk(b"ABCD")], Code.IMAGE_UNSUPPORTED, "ABCD"),
        ([header(4, 3, 8, 2), chunk(b"ABCD", sound=False)], Code.IMAGE_CORRUPT, "ABCD"),
        ([header(4, 3, 8, 2, interlaced=2)], Code.IMAGE_UNSUPPORTED, "interlace"),
        ([header(4, 3, 8, 2)[:-1] + b"x"], Code.IMAGE_CORRUPT, "IHDR"),
        ([header(4, 3, 8, 2), header(4, 3, 8, 2)], Code.IMAGE_CORRUPT, "two headers"),
        ([header(4, 3, 4, 2)], Code.IMAGE_CORRUPT, "colour type 2 with 4 bits"),
        ([header(4, 3, 8, 5)], Code.IMAGE_CORRUPT, "colour type 5"),
        ([header(0, 3, 8, 2)], Code.IMAGE_CORRUPT, "SyntaxError"),
        ([header(12, 3, 8, 3)], Code.IMAGE_CORRUPT, "palette"),
        ([header(12, 3, 8, 3), chunk(b"PLTE", b"four")], Code.IMAGE_CORRUPT, "palette"),
        ([header(12, 3, 8, 3), chunk(b"PLTE", b"rgb", sound=False)], Code.IMAGE_CORRUPT, "PLTE"),
        ([header(4, 3, 8, 2), chunk(b"PLTE", b"rgb", sound=False)], Code.IMAGE_CORRUPT, "PLTE"),
    ],
)
def test_critical_chunks_decide(chunks: list[bytes], code: Code, word: str) -> None:
    data = chunk(b"IDAT", zlib.compress((b"\0" + bytes(COLOUR) * 4) * 3))

    error = failure(SIGNATURE + b"".join((*chunks, data, chunk(b"IEND"))))

    assert code == error.code
    assert word in error.message


@pytest.mark.parametrize("interlaced", [0, 1])
@pytest.mark.parametrize("left_out", [1, 5, 13, 26])
def test_pixels_that_end_early_in_a_whole_file_are_corrupt(left_out: int, interlaced: int) -> None:
    rows = (b"\0" + bytes(COLOUR) * 4) * 3 if not interlaced else b"\0" + bytes(COLOUR) * 14
    parts = [header(4, 3, 8, 2, interlaced=interlaced), chunk(b"IDAT", zlib.compress(rows[:-left_out])), chunk(b"IEND")]

    assert failure(SIGNATURE + b"".join(parts)).code in (Code.IMAGE_CORRUPT, Code.TRUNCATED)


@pytest.mark.parametrize("interlaced", [False, True])
def test_a_picture_that_is_black_to_its_end_is_whole(interlaced: bool) -> None:
    rows = [[(0, 0, 0)] * 40] * 300

    assert bytes(40 * 300 * 3) == decoded(png(rows, interlaced=interlaced)).image.tobytes()


def test_what_stands_behind_the_last_row_is_no_fault() -> None:
    parts = [header(1, 1, 8, 2), chunk(b"IDAT", zlib.compress(b"\0" + bytes(COLOUR) + b"more")), b"\0\0\0\x04junk"]

    assert bytes(COLOUR) == decoded(SIGNATURE + b"".join(parts)).image.tobytes()


@pytest.mark.parametrize("place", ["before", "behind"])
@pytest.mark.parametrize("kind", [b"eXIf", b"tEXt", b"zTXt"])
def test_the_orientation_is_found_on_either_side_of_the_pixels(kind: bytes, place: str) -> None:
    exif = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    text = b"\nexif\n  %d\n%s\n" % (len(exif), exif.hex().encode())
    content = {
        b"eXIf": exif,
        b"tEXt": b"Raw profile type exif\0" + text,
        b"zTXt": b"Raw profile type exif\0\0" + zlib.compress(text + b"00" * 90_000),
    }[kind]

    assert (3, 4) == decoded(png(ROWS, **{place: [chunk(kind, content)]})).image.size


@pytest.mark.parametrize(
    ("tags", "expected", "notes"),
    [
        ([(b"cICP", P3)], P3_ON_SRGB, ("colours converted from Display P3 (cICP)",)),
        ([(b"cICP", b"\x09\x0d\x00\x01")], (247, 0, 0), ("colours converted from BT.2020 (cICP)",)),
        ([(b"cICP", b"\x09\x01\x00\x01")], (247, 0, 0), ("colours converted from BT.2020 (cICP)",)),
        ([(b"cICP", b"\x01\x0d\x00\x00")], (214, 51, 16), ("colours converted from BT.709, narrow range (cICP)",)),
        ([(b"cICP", b"\x01\x0d\x00\x01")], COLOUR, ()),
        ([(b"cICP", b"\x02\x02\x00\x01")], COLOUR, ()),
        ([(b"cICP", b"\x0c\x0d\x09\x01")], COLOUR, ("cICP ignored: malformed",)),
        ([(b"cICP", b"\xff\x0d\x00\x01")], COLOUR, ("cICP ignored: no colours are known by 255, 13",)),
        ([(b"gAMA", LINEAR)], (229, 133, 96), ("colours converted from gAMA",)),
        ([(b"gAMA", SRGB_GAMMA), (b"cHRM", P3_NUMBERS)], P3_ON_SRGB, ("colours converted from gAMA and cHRM",)),
        ([(b"cHRM", P3_NUMBERS)], P3_ON_SRGB, ("colours converted from cHRM",)),
        ([(b"gAMA", SRGB_GAMMA)], COLOUR, ()),
        ([(b"gAMA", SRGB_GAMMA), (b"cHRM", SRGB_NUMBERS)], COLOUR, ()),
        ([(b"gAMA", struct.pack(">L", 45_000))], COLOUR, ()),
        ([(b"gAMA", bytes(4))], COLOUR, ("gAMA ignored: malformed",)),
        ([(b"cHRM", bytes(32))], COLOUR, ("cHRM ignored: it spans no colours",)),
        ([(b"cHRM", b"\xff" * 32)], COLOUR, ("cHRM ignored: it spans no colours",)),
        ([(b"iCCP", srgb_profile()), (b"cICP", P3)], P3_ON_SRGB, ("colours converted from Display P3 (cICP)",)),
        ([(b"iCCP", srgb_profile()), (b"gAMA", LINEAR)], COLOUR, ()),
        ([(b"sRGB", b"\0"), (b"gAMA", LINEAR)], COLOUR, ()),
        ([(b"sRGB", b"\0"), (b"cICP", P3)], P3_ON_SRGB, ("colours converted from Display P3 (cICP)",)),
        (
            [(b"iCCP", b"icc\0\0none"), (b"cHRM", P3_NUMBERS)],
            P3_ON_SRGB,
            ("icc profile dropped: corrupt", "colours converted from cHRM"),
        ),
    ],
)
def test_colours_are_what_the_strongest_of_the_chunks_says(
    tags: list[tuple[bytes, bytes]], expected: tuple[int, ...], notes: tuple[str, ...]
) -> None:
    result = decoded(png(ROWS, before=[chunk(kind, content) for kind, content in tags]))

    assert (expected, notes) == (pixel(result.image, 3, 2), result.notes)


@pytest.mark.parametrize(("colour_type", "alpha"), [(0, ()), (4, (128,))])
def test_grey_stays_grey_and_alpha_stays_where_colours_are_converted(colour_type: int, alpha: tuple[int, ...]) -> None:
    linear = [chunk(b"gAMA", LINEAR)]

    result = decoded(png([[(60, *alpha)]], colour_type=colour_type, before=linear))

    assert (133, *alpha) == pixel(result.image, 0, 0)
    assert ("colours converted from gAMA",) == result.notes


def test_hdr_is_brought_to_paper_white_and_what_is_brighter_is_clipped() -> None:
    rows = [[(0, 0, 0), (148, 148, 148), (220, 220, 220)]]

    result = decoded(png(rows, before=[chunk(b"cICP", b"\x01\x10\x00\x01")]))

    assert bytes((0, 0, 0, 255, 255, 255, 255, 255, 255)) == result.image.tobytes()
    assert ("colours converted from BT.709 with PQ (cICP): brighter than 203 cd/m² is clipped",) == result.notes


def test_what_is_declared_transparent_is_found_before_colours_are_converted() -> None:
    tags = [chunk(b"tRNS", b"\0\xc8\0\x3c\0\x1e"), chunk(b"cICP", P3)]

    result = decoded(png([[COLOUR, (200, 60, 31)]], before=tags))

    assert [(217, 42, 0, 0), 255] == [pixel(result.image, 0, 0), pixel(result.image, 1, 0)[3]]


def test_samples_of_sixteen_bits_are_compared_at_full_depth() -> None:
    magenta = png([[(0xFFFF, 0, 0xFFFF)]], depth=16, before=[chunk(b"tRNS", b"\xff\xff\0\0\xff\xff")])
    red = png([[(0x0505, 0, 0), (5, 0, 0)]], depth=16, before=[chunk(b"tRNS", b"\0\5\0\0\0\0")])

    assert (255, 0, 255, 0) == pixel(decoded(magenta).image, 0, 0)
    assert b"\xff\0" == decoded(red).image.getchannel("A").tobytes()
