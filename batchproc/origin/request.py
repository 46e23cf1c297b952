"""What a client asked for: a request from the bytes of its head, or the reply that refuses it."""

from dataclasses import dataclass
from urllib.parse import unquote

from batchproc.origin.replies import Reply, plain

BAD_REQUEST = plain("400 Bad Request", "not a request this server understands\n", closes=True)
BAD_METHOD = plain("405 Method Not Allowed", "only GET and HEAD\n", closes=True, fields="Allow: GET, HEAD\r\n")
BAD_VERSION = plain("505 HTTP Version Not Supported", "HTTP/1.1, please\n", closes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What matters of a request."""

    path: str
    head_only: bool
    closes: bool
    known_etags: bytes


def parse(head: bytes) -> Request | Reply:
    """A request from its head, without the empty line; or the reply that refuses it."""
    line, _, rest = head.partition(b"\r\n")
    words = line.split(b" ")
    if len(words) != 3 or not words[1] or not words[2].startswith(b"HTTP/"):
        return BAD_REQUEST
    method, target, version = words
    if version not in (b"HTTP/1.1", b"HTTP/1.0"):
        return BAD_VERSION
    if method not in (b"GET", b"HEAD"):
        return BAD_METHOD
    fields = _fields(rest)
    if fields.get(b"content-length", b"0") != b"0" or b"transfer-encoding" in fields:
        return BAD_REQUEST  # a body would be taken for the next request
    wish = fields.get(b"connection", b"").lower()
    return Request(
        path=_path(target),
        head_only=method == b"HEAD",
        closes=b"close" in wish or (version == b"HTTP/1.0" and b"keep-alive" not in wish),
        known_etags=fields.get(b"if-none-match", b""),
    )


def _fields(rest: bytes) -> dict[bytes, bytes]:
    """The header fields, names in lower case; a line that is none is passed over."""
    pairs = (line.partition(b":") for line in rest.split(b"\r\n"))
    return {name.lower(): value.strip() for name, _, value in pairs}


def _path(target: bytes) -> str:
    """The unquoted path of a request target, without its query and, as a proxy is asked, its origin."""
    text = target.decode(errors="replace")
    if not text.startswith("/"):
        text = "/" + text.partition("://")[2].partition("/")[2]
    path = text.partition("?")[0]
    return unquote(path) if "%" in path else path
