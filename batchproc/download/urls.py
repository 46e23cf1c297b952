"""URLs as a request needs them: split once, checked for scheme, host and port, and resolved for redirects."""

import re
from base64 import b64encode
from contextlib import suppress
from functools import lru_cache
from urllib.parse import quote, unquote, urljoin

from msgspec import Struct

from batchproc.errors import Code, StageError
from batchproc.hostname import ascii_host

_PARTS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(?://([^/?#\\]*))?([^#]*)(?:#.*)?", re.DOTALL)
_ADDRESS = re.compile(r"\[[0-9a-f:.]+\]")
_PLAIN_TARGET = re.compile(r"/[A-Za-z0-9!$%&'()*+,./:;=?@_~-]*")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_SENT_AS_LISTED = "!$%&'()*+,/:;=?@[]~"  # servers compare the bytes of signed URLs
_LONE_SLASH = re.compile(r"(https?:)/(?!/)", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")

# The Fetch standard, section "Port blocking".
BAD_PORTS = frozenset(
    (
        1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109,
        110, 111, 113, 115, 117, 119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530,
        531, 532, 540, 548, 554, 556, 563, 587, 601, 636, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045,
        4190, 5060, 5061, 6000, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697, 10080,
    )
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class Origin(Struct, frozen=True, kw_only=True):
    """Whom a request goes to. `authority` is the Host header; an IPv6 `host` has no brackets."""

    scheme: str
    host: str
    port: int
    authority: str


class Location(Struct, frozen=True, kw_only=True):
    """A URL, checked: where it goes, what is asked for there, and the `user:password` it carried."""

    origin: Origin
    target: str  # path and query, ASCII
    user_info: str = ""

    @property
    def url(self) -> str:
        """The URL without user information and fragment."""
        return f"{self.origin.scheme}://{self.origin.authority}{self.target}"


def parse(url: str) -> Location:
    """Splits and checks an absolute URL.

    Raises `StageError`: `input.url` when it is none, `policy.scheme` when it is neither http nor https, `policy.port`
    when its port belongs to another protocol.
    """
    parts = _PARTS.fullmatch(url)
    if parts is None or _CONTROL.search(url):
        raise StageError(Code.INPUT_URL, "this is not an absolute URL")
    scheme, authority, rest = parts[1], parts[2], parts[3]
    user_info, _, host_and_port = (authority or "").rpartition("@")
    origin = _origin(scheme.lower(), host_and_port)
    if rest and rest[0] not in "/?":
        raise StageError(Code.INPUT_URL, "the URL's host is not a name or an address")
    target = rest if rest.startswith("/") else "/" + rest
    if not _PLAIN_TARGET.fullmatch(target):
        target = quote(_STRAY_PERCENT.sub("%25", target), safe=_SENT_AS_LISTED)
    return Location(origin=origin, target=target, user_info=user_info)


@lru_cache(maxsize=1024)
def _origin(scheme: str, host_and_port: str) -> Origin:
    if scheme not in _DEFAULT_PORTS:
        raise StageError(Code.POLICY_SCHEME, "only http and https are downloaded")
    bracket = host_and_port.rfind("]")
    host, colon, digits = host_and_port[bracket + 1 :].rpartition(":")
    host = host_and_port[: bracket + 1] + (host if colon else digits)
    host = _host(host)
    port = _port(digits if colon else "", _DEFAULT_PORTS[scheme])
    authority = host if port == _DEFAULT_PORTS[scheme] else f"{host}:{port}"
    return Origin(scheme=scheme, host=host.strip("[]"), port=port, authority=authority)


def _port(digits: str, default: int) -> int:
    if not digits:
        return default
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 5 and 0 < int(digits) < 65536):
        raise StageError(Code.INPUT_URL, "the URL's port is not a number from 1 to 65535")
    if int(digits) in BAD_PORTS:
        raise StageError(Code.POLICY_PORT, f"port {int(digits)} belongs to another protocol")
    return int(digits)


def _host(text: str) -> str:
    if _ADDRESS.fullmatch(text.lower()):
        return text.lower()
    try:
        return ascii_host(text) + ("." if text.endswith(".") else "")
    except ValueError:
        raise StageError(Code.INPUT_URL, "the URL's host is not a name or an address") from None


def basic_authorization(user_info: str) -> str:
    """The value of an Authorization header for `user:password` as a URL carries it (RFC 7617, in UTF-8)."""
    user, _, password = user_info.partition(":")
    return "Basic " + b64encode(f"{unquote(user)}:{unquote(password)}".encode()).decode("ascii")


def _as_browsers_read(location: str, scheme: str) -> str:
    """A Location with the slashes and spaces that the URL standard (WHATWG, section 4.4) takes it to have."""
    path, mark, rest = location.partition("?")
    path = path.replace("\\", "/")
    lone = _LONE_SLASH.match(path)
    if lone is not None:  # `http:/x` is the path /x on the same host, `https:/x` elsewhere the host x
        path = path[lone.end(1) :] if lone[1].lower() == f"{scheme}:" else f"{lone[1]}//{path[lone.end() :]}"
    return (path + mark + rest).replace(" ", "%20")


def follow(base: Location, header: str) -> Location:
    """Where a redirect leads: the Location header, as read in Latin-1, seen from `base` (RFC 9110, section 10.2.2).

    Raises `StageError`: `redirect` when it leads nowhere or from https to http, else as `parse`.
    """
    with suppress(UnicodeError):  # else it is Latin-1 indeed
        header = header.encode("latin-1").decode("utf-8")
    header = header.strip(" \t")
    if not header or _CONTROL.search(header):
        raise StageError(Code.REDIRECT, "a redirect without a usable Location")
    try:
        target = parse(urljoin(base.url, _as_browsers_read(header, base.origin.scheme)))
    except ValueError:  # urljoin met a broken IPv6 address
        raise StageError(Code.REDIRECT, "a redirect without a usable Location") from None
    except StageError as error:
        if error.code == Code.INPUT_URL:
            raise StageError(Code.REDIRECT, "a redirect to something that is no URL") from None
        raise
    if base.origin.scheme == "https" and target.origin.scheme == "http":
        raise StageError(Code.REDIRECT, "a redirect from https to http")
    return target
