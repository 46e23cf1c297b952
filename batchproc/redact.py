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
_PARAMETER = re.compile(r"(?<=[?&;#])([^=&;#?]*)=([^&;#]*)")
# What may be shown of a query: names that say how an image is to look, with values too short to be a key.
_HARMLESS_NAME = re.compile(
    r"w|h|width|height|size|dpr|scale|fit|crop|mode|format|fm|auto|q|quality|page|p|n|v|ver|version|lang|locale|index|frame"
)
_HARMLESS_VALUE = re.compile(r"[A-Za-z0-9.,_-]{0,16}")
_URL_IN_TEXT = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*:[/\\]{2}[^\s\"'<>]+")

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
    """The URL with user info, and all values of its query and fragment but those known as harmless, replaced by `***`.

    Works on the text alone, so that a malformed URL is redacted too; never raises.
    """
    return _PARAMETER.sub(_hide_parameter, _USERINFO.sub(rf"\1{HIDDEN}@", url, count=1))


def redact_text(text: str) -> str:
    """The text with every URL inside it redacted."""
    return _URL_IN_TEXT.sub(lambda match: redact_url(match[0]), text)


def printable(text: str) -> str:
    """The text on one line: control and bidirectional characters and lone surrogates as `\\x1b` or `\\u202e`."""
    return _UNPRINTABLE.sub(_escape, text)


def _hide_parameter(match: re.Match[str]) -> str:
    name, value = match[1], match[2]
    harmless = _HARMLESS_NAME.fullmatch(name.lower()) and _HARMLESS_VALUE.fullmatch(value)
    return match[0] if harmless or not value else f"{name}={HIDDEN}"


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
