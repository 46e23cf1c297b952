"""What a reply means for its item: by its status and headers, then by its body as it comes.

A login page must not count as an image, so the first bytes of a body are looked at; every check is made on every
return, and bytes are received in place and copied once. Source: the MIME Sniffing standard, "Rules for distinguishing
if a resource is text or binary", with the demand added that text is UTF-8: a broken image shall not pass for a page.
"""

import codecs
import re
import time
import zlib
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

from msgspec import Struct

from batchproc.download.reply import WireReply, truncated
from batchproc.download.settings import Settings
from batchproc.errors import Code, StageError, http_code
from batchproc.sniff import has_image_signature

REDIRECTS = frozenset((301, 302, 303, 307, 308))
_NO_AI = frozenset(("noai", "noimageai"))
_WHOLE_RANGE = re.compile(r"(?i)bytes 0-([0-9]{1,18})/([0-9]{1,18})")  # RFC 9110, section 14.4
_SECONDS = re.compile(r"\s*\+?(-?\d{1,12}(?:\.\d{0,12})?)\s*", re.ASCII)

Headers = Mapping[str, str]  # looked up by lower-case name


class Asked(Struct, frozen=True, kw_only=True):
    """What the verdict must know of the request and the settings."""

    host: str
    conditional: bool  # the request carried If-None-Match or If-Modified-Since
    max_bytes: int
    honour_robots: bool
    robots_name: str  # our name in X-Robots-Tag, lower case


def judge(status_code: int, headers: Headers, asked: Asked) -> None:
    """Returns when the body is wanted (2xx) or needless (304, asked for). Raises `StageError` otherwise."""
    if not _brings_content(status_code, headers):
        if status_code == 304 and asked.conditional:
            return
        raise _refusal(status_code, headers, asked)
    if asked.honour_robots and forbids_ai(headers.get("x-robots-tag", ""), asked.robots_name):
        raise StageError(Code.POLICY_NOAI, "the server asks that this image is not used for AI (X-Robots-Tag)")
    length = headers.get("content-length", "")
    if length.isdigit() and (len(length) > 19 or int(length) > asked.max_bytes):
        raise too_large(asked.max_bytes)


def _brings_content(status_code: int, headers: Headers) -> bool:
    """Whether the body is what was asked for: any 2xx but those without one; a 206 only when its range is the whole."""
    if status_code == 206:
        whole = _WHOLE_RANGE.fullmatch(headers.get("content-range", ""))
        return whole is not None and int(whole[1]) + 1 == int(whole[2])
    return 200 <= status_code <= 299 and status_code not in (204, 205)


def too_large(max_bytes: int) -> StageError:
    """The failure of a body over the limit."""
    return StageError(Code.TOO_LARGE, f"the body is larger than max_bytes ({max_bytes} bytes)")


def _refusal(status_code: int, headers: Headers, asked: Asked) -> StageError:
    host = asked.host
    if status_code in (204, 205):
        return StageError(Code.IMAGE_EMPTY, f"{host} answered {status_code}: no content")
    if status_code in (206, 304):
        return StageError(Code.PROTO, f"{host} answered {status_code}, which was not asked for")
    if status_code == 407:
        return StageError(Code.PROXY, f"the proxy refuses to pass on a request to {host}: it answered 407")
    if status_code == 429 or (status_code == 503 and "retry-after" in headers):
        return _rate(status_code, headers, asked)
    return StageError(http_code(status_code), f"{host} answered {status_code}")


def _rate(status_code: int, headers: Headers, asked: Asked) -> StageError:
    return StageError(
        Code.RATE,
        f"{asked.host} answered {status_code}: too many requests",
        hint="lower [download] per_host",
        retry_after_seconds=retry_after(headers),
    )


def retry_after(headers: Headers) -> float | None:
    """The seconds that a reply's Retry-After asks for; None when it says nothing usable."""
    return retry_after_seconds(headers.get("retry-after", ""), headers.get("date", ""))


def retry_after_seconds(value: str, date: str, now: float | None = None) -> float | None:
    """The seconds that Retry-After asks for, 0 or more; None when it says nothing usable.

    A date is measured against the reply's own Date, so that a wrong clock on either side does not matter (RFC 9110,
    section 10.2.3). Of several values the longest counts. Seconds with a fraction, which some servers send, are taken.
    """
    moment = _timestamp(value)
    if moment is not None:
        return max(0.0, moment - (_timestamp(date) or (time.time() if now is None else now)))
    numbers = [float(number[1]) for number in map(_SECONDS.fullmatch, value.split(",")) if number is not None]
    return max(0.0, *numbers) if numbers else None


def _timestamp(text: str) -> float | None:
    parts = parsedate_tz(text) if ":" in text else None
    if parts is None:
        return None
    try:
        return float(mktime_tz(parts))
    except (ValueError, OverflowError):
        return None


def forbids_ai(value: str, robots_name: str) -> bool:
    """Whether an X-Robots-Tag (several joined by commas) says noai or noimageai to everybody or to `robots_name`."""
    for directive in value.lower().split(","):
        agent, colon, rule = directive.rpartition(":")
        if rule.strip() in _NO_AI and (not colon or agent.strip() in (robots_name, "*")):
            return True
    return False


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
