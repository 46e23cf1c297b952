"""What may be shown: secrets out of URLs, and text that cannot play tricks on a terminal or a log.

Functions on strings are pure, and all are thread-safe. The lists of names follow what signed URLs of the large clouds
carry.
"""

import logging
import re
from urllib.parse import unquote

HIDDEN = "***"

_SECRET_NAME = re.compile(
    r"token|secret|passw|signature|credential|hmac|jwt|cookie|authorization"
    r"|(?:^|[^a-z])(?:sig|key|keys|pwd|pass|auth|session|sid|ticket|otp|policy)(?:$|[^a-z])"
    r"|key(?:[-_]?id)?$|sessionid$|^x-(?:amz|goog)-"
)
# Slashes of both kinds: browsers and some libraries take `http:\\user:password@host` too.
_USERINFO = re.compile(r"^(\s*(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?[/\\]*)[^/\\?#]*@")
# A password with a raw `/`, `?` or `#` in it breaks its URL off, so that its beginning stands where a port would.
_NO_PORT = re.compile(r"^(\s*[a-zA-Z][a-zA-Z0-9+.-]*:[/\\]{2,}[^/\\:\[\]]*):(?!\d{0,5}(?:[/\\]|$))[^/\\]*")
_QUERY = re.compile(r"[?#]")
_PART = re.compile(r"[^?&;#]+")
_PATH_PART = re.compile(r"(^|[/\\;,~&])([^/\\;,~&]+)")
_ENCODED = re.compile(r"%(?:25)*3[Ff].*|(?<=http)s?(?:%(?:25)*3[Aa]|:)(?:%(?:25)*2[Ff]).*", re.DOTALL)  # a query, a URL
# What may be shown of a query: names that say how an image is to look, with values too short to be a key.
_HARMLESS_NAME = re.compile(
    r"w|h|width|height|size|dpr|scale|fit|crop|mode|format|fm|auto|q|quality|page|p|n|v|ver|version|lang|locale|index|frame"
)
_HARMLESS_VALUE = re.compile(r"[A-Za-z0-9.,_-]{0,16}")
_LONGEST_NAME = 40  # of a parameter; what is longer is hidden too
_URL_IN_TEXT = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]{0,20}:[/\\]{2}[^\s\"'<>]+")

# C0, DEL, C1; marks that change direction or line; invisible marks; lone surrogates; tag characters. The joiners
# U+200C and U+200D stay: Persian and emoji need them.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    "\ud800-\udfff\U000e0000-\U000e007f]"
)


def silence_urllib3() -> None:
    """Keeps urllib3 from logging: its messages carry whole URLs, and without a handler they go to stderr."""
    logging.getLogger("urllib3").setLevel(logging.CRITICAL + 1)


def is_secret_name(name: str) -> bool:
    """Whether a query parameter, header or key of this name holds a secret, as `X-Amz-Signature` or `api_key`."""
    return _SECRET_NAME.search(unquote(name).strip().lower()) is not None


def redact_url(url: str) -> str:
    """The URL with `***` for user info, for all of its query, fragment and matrix parameters that is not known as
    harmless, and for a URL or a query that stands encoded in its path.

    Works on the text alone, so that a malformed URL is redacted too; never raises.
    """
    mark = _QUERY.search(url)
    path, rest = (url, "") if mark is None else (url[: mark.start()], url[mark.start() :])
    path = _NO_PORT.sub(rf"\1:{HIDDEN}", _USERINFO.sub(rf"\1{HIDDEN}@", path, count=1), count=1)
    return _PATH_PART.sub(_hide_in_path, path) + _PART.sub(lambda part: _hide_parameter(part[0]), rest)


def redact_text(text: str) -> str:
    """The text with every URL inside it redacted."""
    return _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text)


def printable(text: str) -> str:
    """The text on one line: control and bidirectional characters and lone surrogates as `\\x1b` or `\\u202e`."""
    return _UNPRINTABLE.sub(_escape, text)


def _hide_parameter(part: str) -> str:
    """`name=value` of a query; what has no value, as `?0f3a` and base64's `?0f3a==`, may be all secret."""
    name, _, value = part.partition("=")
    is_harmless = _HARMLESS_NAME.fullmatch(name.lower()) is not None
    if value.strip("="):
        shown = name if len(name) <= _LONGEST_NAME else HIDDEN
        return part if is_harmless and _HARMLESS_VALUE.fullmatch(value) else f"{shown}={HIDDEN}"
    is_name = is_harmless or (value == "" and part.endswith("=") and name.isalpha() and is_secret_name(name))
    return part if is_name else HIDDEN


def _hide_in_path(match: re.Match[str]) -> str:
    """A part of a path: a matrix parameter, a value named as secret, the user info of a URL inside, what is encoded."""
    mark, part = match[1], match[2]
    if mark == ";":
        return mark + _hide_parameter(part)
    user, at, rest = part.rpartition("@")
    if at and ":" in user and user != HIDDEN:
        part = f"{HIDDEN}@{rest}"
    name, equals, value = part.partition("=")
    if equals and value and is_secret_name(name):
        part = f"{name}={HIDDEN}"
    return mark + _ENCODED.sub(HIDDEN, part, count=1)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
