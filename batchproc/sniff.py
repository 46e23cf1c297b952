"""What bytes are, by their first bytes: an accepted image, another image, no image, one that was cut short."""

import codecs
import re
from collections.abc import Callable
from enum import StrEnum
from pathlib import PurePath

from msgspec import Struct

_PREFIX_BYTES = 1024
IMAGE_SUFFIXES = frozenset(  # those of formats that are not read are among them, or their files would just be missing
    (
        ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".avif", ".tif", ".tiff", ".bmp", ".mpo", ".jp2",
        ".heic", ".heif", ".jxl",
    )
)  # fmt: skip


def is_image_name(name: str) -> bool:
    """Whether a file is named like an image."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES


class Nature(StrEnum):
    """What the program does with such content."""

    ACCEPTED = "accepted"  # decoded here
    OTHER_IMAGE = "other image"
    NO_IMAGE = "no image"


class Content(Struct, frozen=True, kw_only=True):
    """`name` is the contract's word when accepted (`jpeg`), else words for a message (`an HTML page`)."""

    nature: Nature
    name: str


_ACCEPTED = (
    (0, b"\xff\xd8\xff", "jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (8, b"WEBP", "webp"),
    (0, b"II*\x00", "tiff"),
    (0, b"MM\x00*", "tiff"),
    (0, b"II+\x00", "tiff"),
    (0, b"MM\x00+", "tiff"),
)
_BMP_HEADERS_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)  # the sizes a BMP's second header can have: "BM" alone is text
_SIGNATURE = re.compile(
    b"|".join(
        (
            *(b".{%d}%b" % (offset, re.escape(magic)) for offset, magic, _name in _ACCEPTED),
            b"BM.{12}[%b]\0\0\0" % re.escape(bytes(_BMP_HEADERS_BYTES)),
            b".{4}ftyp",  # and whatever else is of boxes, which are no text
        )
    ),
    re.DOTALL,
)

_OTHER_IMAGES = (
    (0, b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (8, b"CR\x02\x00", "Canon CR2"),  # otherwise a TIFF, of which only the preview could be read
    (0, b"8BPS", "PSD"),
    (0, b"\x00\x00\x01\x00", "ICO"),
    (0, b"\x00\x00\x02\x00", "CUR"),
    (0, b"%PDF", "PDF"),
    (0, b"%!PS", "EPS"),
    (0, b"\xc5\xd0\xd3\xc6", "EPS"),
    (0, b"qoif", "QOI"),
    (0, b"DDS ", "DDS"),
    (0, b"gimp xcf", "XCF"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    *((0, f"P{digit}{end}".encode(), "PNM") for digit in range(1, 8) for end in "\n\r\t "),
)

_NO_IMAGES = (
    (0, b"PK\x03\x04", "a ZIP archive"),
    (0, b"\x1f\x8b", "gzip data"),
    (0, b"\x1a\x45\xdf\xa3", "a Matroska or WebM video"),
    (0, b"OggS", "an Ogg file"),
    (0, b"ID3", "an MP3 file"),
)

_TABLES = ((_OTHER_IMAGES, Nature.OTHER_IMAGE), (_ACCEPTED, Nature.ACCEPTED), (_NO_IMAGES, Nature.NO_IMAGE))

_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
_HTML_STARTS = ("<!doctype html", "<html", "<head", "<body", "<script", "<title", "<!--")


def has_image_signature(content: bytes) -> bool:
    """Whether it begins as the accepted images do. One match, for each body that arrives."""
    return _SIGNATURE.match(content) is not None


def identify(content: bytes) -> Content:
    """What `content` is. Looks at no more than its first KiB, and decodes nothing."""
    prefix = content[:_PREFIX_BYTES]
    if prefix[4:8] == b"ftyp":
        return _boxed(prefix)
    for table, nature in _TABLES:
        for offset, magic, name in table:
            if prefix.startswith(magic, offset):
                return Content(nature=nature, name=name)
    return _stub(prefix) or _textual(prefix)


def _stub(prefix: bytes) -> Content | None:
    """A BMP, or a beginning too short to hold its whole magic number."""
    if prefix.startswith(b"BM") and int.from_bytes(prefix[14:18], "little") in _BMP_HEADERS_BYTES:
        return Content(nature=Nature.ACCEPTED, name="bmp")
    if 0 < len(prefix) < 12:
        for _offset, magic, name in (*_ACCEPTED, (0, b"RIFF", "webp")):
            if magic.startswith(prefix) or (name == "webp" and prefix.startswith(b"RIFF")):
                return Content(nature=Nature.ACCEPTED, name=name)
    return None


def _boxed(prefix: bytes) -> Content:
    """A file of ISO base media boxes: the brands in the first box say what it holds (ISO/IEC 14496-12, 4.3)."""
    brands = [prefix[8:12], *(prefix[at : at + 4] for at in range(16, min(len(prefix), int.from_bytes(prefix[:4])), 4))]
    if b"avif" in brands or b"avis" in brands:
        return Content(nature=Nature.ACCEPTED, name="avif")
    if any(brand in _HEIF_BRANDS for brand in brands):
        return Content(nature=Nature.OTHER_IMAGE, name="HEIC")
    return Content(nature=Nature.NO_IMAGE, name="a video or audio file (ISO media)")


def _textual(prefix: bytes) -> Content:
    """Text of some sort, or bytes that mean nothing to us."""
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(prefix)  # a character cut at the end is no error
    except UnicodeDecodeError:
        return Content(nature=Nature.NO_IMAGE, name=f"unknown data (it begins with {prefix[:4].hex(' ')})")
    start = text.lstrip().lower()
    if start.startswith("<svg") or (start.startswith(("<?xml", "<!doctype svg", "<!--")) and "<svg" in start):
        return Content(nature=Nature.OTHER_IMAGE, name="SVG")
    return Content(nature=Nature.NO_IMAGE, name=_text_name(start))


def _text_name(start: str) -> str:
    if start.startswith(_HTML_STARTS):
        return "an HTML page"
    if start.startswith("<?xml"):
        return "an XML document"
    if start.startswith(("{", "[")):
        return "JSON"
    printable = all(character.isprintable() or character.isspace() for character in start)
    return "plain text" if printable and start else "unknown data"


def is_cut(content: bytes, kind: str) -> bool:
    """Whether a file that would not decode lacks its end. Never raises."""
    test = _CUT.get(kind)
    return test is not None and test(content)


def _cut_webp(content: bytes) -> bool:
    return len(content) < 12 or len(content) < 8 + int.from_bytes(content[4:8], "little")


def _cut_avif(content: bytes) -> bool:
    """Walks the top-level boxes (ISO/IEC 14496-12, 4.2): each says where the next begins."""
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16])
        if length == 0:  # up to the end of the file
            return False
        if length < 8:
            return True
        at += length
    return at > len(content)


_CUT: dict[str, Callable[[bytes], bool]] = {
    "jpeg": lambda content: not content.rstrip(b"\x00\r\n").endswith(b"\xff\xd9"),
    "png": lambda content: b"IEND\xaeB`\x82" not in content,
    "gif": lambda content: not content.rstrip(b"\x00").endswith(b";"),
    "webp": _cut_webp,
    "avif": _cut_avif,
}
