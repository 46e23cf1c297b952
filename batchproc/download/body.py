"""Reading a body: every check on every return, bytes received in place, copied once.

A login page must not count as an image, so the first bytes are looked at. Source: the MIME Sniffing standard, "Rules
for distinguishing if a resource is text or binary", with the demand added that text is UTF-8: a broken image shall not
pass for a page.
"""

import codecs
import re
import time
import zlib

from batchproc.download.reply import WireReply, truncated
from batchproc.download.settings import Settings
from batchproc.download.verdict import too_large
from batchproc.errors import Code, StageError
from batchproc.sniff import has_image_signature

SNIFFED_BYTES = 512

_MARKUP = re.compile(rb"(?:\xef\xbb\xbf)?[\t\n\x0c\r ]*<[!?/A-Za-z]")
_BINARY = re.compile(rb"[\x00-\x08\x0b\x0e-\x1a\x1c-\x1f]")
_UTF16_MARKS = (codecs.BOM_UTF16_BE, codecs.BOM_UTF16_LE)


def is_text(head: bytes) -> bool:
    """Whether a body that begins with `head` (at most its first 512 bytes) is HTML, XML, JSON or other text."""
    head = head[:SNIFFED_BYTES]
    if not head or has_image_signature(head):
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


SPEED_WINDOW_SECONDS = 10.0

_GZIP = (zlib.MAX_WBITS | 16,)
_DEFLATE = (zlib.MAX_WBITS, -zlib.MAX_WBITS)  # the second, without its zlib wrapper, is wrong but frequent
_NO_CODINGS = frozenset(("", "identity", "none", "binary", "utf-8"))  # the latter ones mean nothing, but are sent
_CODINGS = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _DEFLATE}


class SpeedLimit:
    """The low-speed limit: fewer bytes than allowed in a window of 10 s is too slow. Seconds are monotonic."""

    def __init__(self, least_bytes_per_second: float, now: float) -> None:
        self._least_bytes = least_bytes_per_second * SPEED_WINDOW_SECONDS
        self._window_ends = now + SPEED_WINDOW_SECONDS
        self._bytes_before = 0

    def check(self, total_bytes: int, now: float) -> None:
        """Raises `StageError` `timeout.slow` when a window has ended with too little in it."""
        if now < self._window_ends:
            return
        if total_bytes - self._bytes_before < self._least_bytes:
            raise StageError(Code.TIMEOUT_SLOW, "the server sent slower than min_speed")
        self._window_ends = now + SPEED_WINDOW_SECONDS
        self._bytes_before = total_bytes


def read_body(raw: WireReply, settings: Settings, coding: str) -> bytes:
    """The content of a reply: received until its end, and the content coding undone.

    Raises `StageError`: `too_large`, `not_image` (as soon as the first 512 bytes are text), `image.empty`, `encoding`,
    `timeout.slow`, and what `raw` raises.
    """
    codings = [part for part in (part.strip() for part in coding.lower().split(",")) if part not in _NO_CODINGS]
    if not codings:
        return _not_empty(_receive(raw, settings, sniff=True))
    window_sizes = _CODINGS.get(codings[0], ()) if len(codings) == 1 else ()
    content = _decode(_receive(raw, settings, sniff=False), window_sizes, settings.max_bytes)
    if is_text(content):
        raise text_error(raw.host)
    return _not_empty(content)


def _receive(raw: WireReply, settings: Settings, *, sniff: bool) -> bytes:
    inbox, start, end = raw.inbox.view, raw.inbox.start, raw.inbox.end
    most_bytes = settings.max_bytes
    pace: SpeedLimit | None = None
    full: list[bytes] = []
    received = end - start
    while True:
        if sniff and received >= SNIFFED_BYTES:
            _refuse_text(inbox[start:end], raw.host)
            sniff = False
        if received > most_bytes:
            raise too_large(most_bytes)
        if end == len(inbox):
            full.append(bytes(inbox[start:]))
            start = end = 0
        count = raw.readinto(inbox[end:])
        if not count:
            break
        end += count
        received += count
        if pace is None:
            pace = SpeedLimit(settings.min_speed_bytes_per_second, time.monotonic())
        pace.check(received, time.monotonic())
    if sniff:
        _refuse_text(inbox[start:end], raw.host)
    last = bytes(inbox[start:end])
    return b"".join((*full, last)) if full else last


def _refuse_text(received: memoryview, host: str) -> None:
    if is_text(bytes(received[:SNIFFED_BYTES])):
        raise text_error(host)


def text_error(host: str) -> StageError:
    """The failure of a reply that is a page, not a picture."""
    return StageError(Code.NOT_IMAGE, f"{host} sent text, not an image")


def _not_empty(content: bytes) -> bytes:
    if not content:
        raise StageError(Code.IMAGE_EMPTY, "the body is empty")
    return content


def _decode(octets: bytes, window_sizes: tuple[int, ...], most_bytes: int) -> bytes:
    if has_image_signature(octets):
        return octets  # the label is wrong, the image is here
    if not window_sizes:
        raise StageError(Code.ENCODING, "the server used a content coding that was not asked for")
    for window_bits in window_sizes:
        decoder = zlib.decompressobj(window_bits)
        try:
            content = decoder.decompress(octets, most_bytes + 1)
        except zlib.error:
            continue
        if len(content) > most_bytes:
            raise too_large(most_bytes)
        if not decoder.eof:
            raise truncated("the compressed body ends early")
        return content
    raise StageError(Code.ENCODING, "the body is not coded as its Content-Encoding says")
