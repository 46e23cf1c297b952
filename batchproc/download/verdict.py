"""What a reply's status and headers mean for the item: go on, follow, or which failure and when to try again."""

import re
import time
from collections.abc import Mapping
from email.utils import mktime_tz, parsedate_tz

from msgspec import Struct

from batchproc.errors import Code, StageError, http_code

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
