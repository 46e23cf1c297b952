"""Text or not: a look at the first bytes of a body, so that a login page never counts as an image.

Source: the MIME Sniffing standard, sections "Matching an image type pattern" and "Rules for distinguishing if a
resource is text or binary", with the demand added that text is UTF-8: a broken image shall not pass for a page.
"""

import codecs
import re

SNIFFED_BYTES = 512

_IMAGE = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n|GIF8[79]a|RIFF....WEBP|BM|II\*\0|MM\0\*|....ftyp", re.DOTALL)
_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*<[!?/A-Za-z]")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UTF16_MARKS = (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)


def is_image(head: bytes) -> bool:
    """Whether the bytes begin like a known image format."""
    return _IMAGE.match(head) is not None


def is_text(head: bytes) -> bool:
    """Whether a body that begins with `head` (at most its first 512 bytes) is HTML, XML, JSON or other text."""
    head = head[:SNIFFED_BYTES]
    if not head or is_image(head):
        return False
    if _MARKUP.match(head) or head.startswith(_UTF16_MARKS):
        return True
    return _BINARY.search(head) is None and _is_utf8(head)


def _is_utf8(head: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # may end inside a character
    except UnicodeDecodeError:
        return False
    return True
