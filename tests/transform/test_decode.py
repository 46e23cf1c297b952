"""Decoding: by content, upright, in the right colours, at the right scale; every fault has its code."""

import struct
import zlib
from io import BytesIO

import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from batchproc.errors import Code, Retry, StageError
from batchproc.transform import decode as decoding
from batchproc.transform.colour import Colours
from batchproc.transform.decode import FORMATS, Decoded, decode, open_picture, prepare_pillow
from batchproc.transform.modes import Size
from tests.transform.drawing import difference, encoded, photo, pixel


@pytest.fixture(autouse=True)
def pillow() -> None:
    prepare_pillow()


def opened(content: bytes, *, max_pixels: int = 50_000_000) -> decoding.Opened:
    return open_picture(content, formats=FORMATS, max_pixels=max_pixels)


def decoded(content: bytes, *, needed: Size | None = None, background: str | None = "#ffffff") -> Decoded:
    return decode(opened(content), needed=needed, background=background, colours=Colours())


def failure(content: bytes, **limits: int) -> StageError:
    with pytest.raises(StageError) as caught:
        decode(opened(content, **limits), needed=None, background="#ffffff", colours=Colours())
    return caught.value


@pytest.mark.parametrize(
    ("format", "kind"),
    [
        ("JPEG", "jpeg"),
        ("PNG", "png"),
        ("WEBP", "webp"),
        ("GIF", "gif"),
        ("AVIF", "avif"),
        ("TIFF", "tiff"),
        ("BMP", "bmp"),
    ],
)
def test_every_accepted_format_decodes_to_the_same_picture(format: str, kind: str) -> None:
    picture = photo(120, 90)

    content = encoded(picture, format)

    assert kind == opened(content).kind
    assert difference(decoded(content).image, picture) < 6


def test_a_multi_picture_jpeg_is_its_first_picture_and_counts_as_jpeg() -> None:
    first, second = photo(64, 48), Image.new("RGB", (64, 48), "blue")
    content = encoded(first, "MPO", save_all=True, append_images=[second], quality=95)

    assert opened(content).kind == "jpeg"
    assert difference(decoded(content).image, first) < 4


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_an_animation_is_its_first_frame(format: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ("red", "green", "blue")]
    content = encoded(frames[0], format, save_all=True, append_images=frames[1:])

    red, green, blue = pixel(decoded(content).image, 16, 16)

    assert red > 240 > 20 > max(green, blue)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "TIFF", "AVIF"])
def test_all_eight_orientations_are_set_upright(format: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(61, 40), format, exif=exif)
    reference = ImageOps.exif_transpose(Image.open(BytesIO(content)))

    result = opened(content)

    assert reference.size == result.size
    assert reference.size == decoded(content).image.size
    assert difference(decoded(content).image, reference) < 1


def exif_with(tag_entry: bytes) -> bytes:
    return b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x01\x00" + tag_entry + b"\x00\x00\x00\x00"


@pytest.mark.parametrize(
    "exif",
    [
        exif_with(struct.pack("<HHLHH", 0x0112, 3, 1, 0, 0)),
        exif_with(struct.pack("<HHLHH", 0x0112, 3, 1, 9, 0)),
        exif_with(struct.pack("<HHL4s", 0x0112, 2, 4, b"six\x00")),
        b"Exif\x00\x00II*\x00\xff\xff\xff\xff",
        b"Exif\x00\x00II*\x00\x08\x00\x00\x00\xff\xff" + b"\x00" * 40,
        b"Exif\x00\x00XX",
        b"Exif\x00\x00",
    ],
    ids=["zero", "nine", "text", "offset-beyond-end", "endless-directory", "no-byte-order", "empty"],
)
def test_an_invalid_orientation_is_ignored(exif: bytes) -> None:
    content = encoded(photo(61, 40), exif=exif)

    assert (61, 40) == decoded(content).image.size


def test_an_orientation_behind_the_pixels_of_a_png_is_found_before_the_checks() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded(photo(61, 40), "PNG")
    block = exif.tobytes().removeprefix(b"Exif\x00\x00")
    chunk = struct.pack(">L", len(block)) + b"eXIf" + block + struct.pack(">L", zlib.crc32(b"eXIf" + block))

    assert (40, 61) == opened(content[:-12] + chunk + content[-12:]).size


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_scaled_decode_shows_the_same_picture_in_every_orientation(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(photo(1003, 701), exif=exif)
    full = decoded(content).image

    scaled = decoded(content, needed=(full.width // 8, full.height // 8))
    left, top, right, bottom = scaled.box

    assert (full.width / 8, full.height / 8) == (right - left, bottom - top)
    assert scaled.image.width in (full.width // 8, full.width // 8 + 1)
    assert 0 <= left < right <= scaled.image.width
    assert 0 <= top < bottom <= scaled.image.height
    assert difference(scaled.image.resize((100, 100), box=scaled.box), full.resize((100, 100))) < 2


@pytest.mark.parametrize(
    ("needed", "size"),
    [
        ((100, 100), (100, 100)),
        ((101, 50), (200, 200)),
        ((401, 400), (800, 800)),
        ((1, 1), (100, 100)),
        (None, (800, 800)),
    ],
    ids=["eighth", "one-more", "full", "no-less-than-an-eighth", "all"],
)
def test_a_scaled_decode_never_falls_below_what_is_needed(needed: Size | None, size: Size) -> None:
    assert size == decoded(encoded(photo(800, 800)), needed=needed).image.size


def test_pixels_are_counted_before_anything_is_decoded_or_scaled() -> None:
    content = encoded(photo(200, 100))

    assert Code.IMAGE_BOMB == failure(content, max_pixels=19_999).code
    assert "200 x 100 px are more than 19999 pixels" == failure(content, max_pixels=19_999).message
    assert (200, 100) == opened(content, max_pixels=20_000).size


def png_header(width: int, height: int) -> bytes:
    head = struct.pack(">LLBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">L", 13) + b"IHDR" + head + struct.pack(">L", zlib.crc32(b"IHDR" + head))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">L", 10) + b"IDAT"


def webp_header(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return b"RIFF\x40\x00\x00\x00WEBPVP8X\x0a\x00\x00\x00\x00\x00\x00\x00" + canvas


@pytest.mark.parametrize("content", [png_header(60_000, 60_000), webp_header(16_383, 16_383)], ids=["png", "webp"])
def test_a_bomb_is_known_by_its_header_alone(content: bytes) -> None:
    assert Code.IMAGE_BOMB == failure(content).code


@pytest.mark.parametrize("format", ["JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_file_cut_short_is_truncated_and_tried_once_more(format: str, share: float) -> None:
    content = encoded(photo(120, 90), format)

    error = failure(content[: int(len(content) * share)])

    assert (Code.TRUNCATED, Retry.ONCE) == (error.code, error.retry_in("transform"))


@pytest.mark.parametrize("content", [b"\xff\xd8\xff", b"\x89", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\x10\0\0\0WE"])
def test_a_magic_number_alone_is_truncated(content: bytes) -> None:
    assert Code.TRUNCATED == failure(content).code


def test_no_bytes_at_all_are_an_empty_image() -> None:
    assert Code.IMAGE_EMPTY == failure(b"").code


def test_damage_is_corrupt_and_names_the_class_but_no_text_of_the_library() -> None:
    content = bytearray(encoded(photo(), "WEBP"))
    content[content.index(b"VP8 ") + 11] ^= 0xFF

    error = failure(bytes(content))

    assert (Code.IMAGE_CORRUPT, Retry.NEVER) == (error.code, error.retry_in("transform"))
    assert error.message.startswith("the webp image cannot be decoded (")


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.99])
def test_pixels_of_a_png_that_do_not_match_their_checksum_are_corrupt(share: float) -> None:
    content = bytearray(encoded(photo(), "PNG"))
    content[int(len(content) * share)] ^= 0x01

    assert Code.IMAGE_CORRUPT == failure(bytes(content)).code


@pytest.mark.parametrize(
    ("raised", "code"),
    [
        (SyntaxError("odd"), Code.IMAGE_CORRUPT),
        (struct.error("odd"), Code.IMAGE_CORRUPT),
        (KeyError("odd"), Code.IMAGE_CORRUPT),
        (ZeroDivisionError(), Code.IMAGE_CORRUPT),
        (RecursionError(), Code.IMAGE_CORRUPT),
        (OSError("image file is truncated (3 bytes not processed)"), Code.TRUNCATED),
        (OSError("Unsupported BMP compression (9)"), Code.IMAGE_UNSUPPORTED),
        (NotImplementedError(), Code.IMAGE_UNSUPPORTED),
        (MemoryError(), Code.IMAGE_MEMORY),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
)
def test_whatever_a_decoder_raises_has_an_image_code(raised: Exception, code: Code) -> None:
    whole = encoded(photo(8, 8))

    with pytest.raises(StageError) as caught, decoding.decode_errors(whole, "jpeg"):
        raise raised

    assert code == caught.value.code


@pytest.mark.parametrize(
    ("content", "code", "name"),
    [
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n" + b"\x00" * 20, Code.IMAGE_UNSUPPORTED, "JPEG 2000"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", Code.IMAGE_UNSUPPORTED, "HEIC"),
        (b"\xff\x0a" + b"\x00" * 20, Code.IMAGE_UNSUPPORTED, "JPEG XL"),
        (b"8BPS\x00\x01" + b"\x00" * 20, Code.IMAGE_UNSUPPORTED, "PSD"),
        (b"\x00\x00\x01\x00\x01\x00" + b"\x00" * 20, Code.IMAGE_UNSUPPORTED, "ICO"),
        (b"%PDF-1.7\n", Code.IMAGE_UNSUPPORTED, "PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n", Code.IMAGE_UNSUPPORTED, "EPS"),
        (b'<?xml version="1.0"?>\n<svg xmlns="x">', Code.IMAGE_UNSUPPORTED, "SVG"),
        (b'\xef\xbb\xbf  <svg width="1">', Code.IMAGE_UNSUPPORTED, "SVG"),
        (b"P6\n1 1\n255\nabc", Code.IMAGE_UNSUPPORTED, "PNM"),
        (b"\n<!DOCTYPE html><html><svg>", Code.NOT_IMAGE, "an HTML page"),
        (b'{"error": "gone"}', Code.NOT_IMAGE, "JSON"),
        ("Zugriff verweigert, höflich".encode(), Code.NOT_IMAGE, "plain text"),
        (b"BMW builds cars, and this is no bitmap", Code.NOT_IMAGE, "plain text"),
        (("ä" * 600).encode()[1:], Code.NOT_IMAGE, "unknown data"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42", Code.NOT_IMAGE, "a video"),
        (b"\xff\xff\xff\xffftypisom\x00\x00\x02\x00isommp42", Code.NOT_IMAGE, "a video"),
        (b"PK\x03\x04" + b"\x00" * 20, Code.NOT_IMAGE, "a ZIP archive"),
    ],
)
def test_what_is_not_accepted_is_named(content: bytes, code: Code, name: str) -> None:
    error = failure(content)

    assert code == error.code
    assert name in error.message


def test_a_format_left_out_of_the_settings_is_unsupported() -> None:
    with pytest.raises(StageError, match="gif is not among") as caught:
        open_picture(encoded(photo(8, 8), "GIF"), formats=("jpeg", "png"), max_pixels=100)

    assert Code.IMAGE_UNSUPPORTED == caught.value.code


def display_p3_like() -> bytes:
    """An ICC profile that is not sRGB: made by exchanging its red and green primaries."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    return bytes(profile.replace(b"rXYZ", b"tmpX").replace(b"gXYZ", b"rXYZ").replace(b"tmpX", b"gXYZ"))


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_colours_are_brought_to_srgb_by_the_profile(mode: str) -> None:
    picture = Image.new(mode, (8, 8), (200, 40, 30, 128)[: len(mode)])
    content = encoded(picture, "PNG", icc_profile=display_p3_like())

    result = decoded(content, background=None)

    assert ((40, 200, 30), ()) == (tuple(round(v / 10) * 10 for v in pixel(result.image, 4, 4)[:3]), result.notes)
    assert mode == result.image.mode


def test_a_srgb_profile_changes_nothing_and_leaves_no_note() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    picture = photo(40, 30)

    result = decoded(encoded(picture, "PNG", icc_profile=srgb))

    assert (picture.tobytes(), ()) == (result.image.tobytes(), result.notes)


@pytest.mark.parametrize(
    ("profile", "note"),
    [
        (b"no profile at all" * 20, "corrupt"),
        (b"\x00" * (4 << 20), "4194304 bytes"),
        (display_p3_like()[:200], "corrupt"),
    ],
    ids=["garbage", "four-megabytes", "cut"],
)
def test_a_bad_profile_is_dropped_with_a_note(profile: bytes, note: str) -> None:
    picture = photo(40, 30)

    result = decoded(encoded(picture, icc_profile=profile))

    assert difference(picture, result.image) < 2
    assert len(result.notes) == 1
    assert result.notes[0].startswith("icc profile dropped")
    assert note in result.notes[0]


def test_a_profile_for_other_pixels_is_dropped_with_a_note() -> None:
    result = decoded(encoded(photo(40, 30, "L"), "PNG", icc_profile=display_p3_like()))

    assert ("icc profile dropped: made for RGB pixels, these are L",) == result.notes


def test_metadata_does_not_travel_on() -> None:
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Comment", "secret")
    content = encoded(photo(8, 8), "PNG", pnginfo=facts, dpi=(72, 72), exif=Image.Exif().tobytes())

    assert {} == decoded(content).image.info


def test_opening_leaves_pillows_own_bomb_check_to_ours() -> None:
    assert (20_000, 10_000) == opened(png_header(20_000, 10_000), max_pixels=300_000_000).size
