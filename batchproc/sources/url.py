"""The canonical form of a URL, by which two lines are the same item, and what is wrong with a line that is no URL.

RFC 3986 section 6: lower-case scheme and host (IDNA for others than ASCII), no default port, no fragment, no dot
segments, percent-encoding in upper case and only where it is needed; the order of the query stays. Pure functions,
thread-safe.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import NoReturn
from urllib.parse import urljoin

from batchproc.errors import Code
from batchproc.hostname import ascii_host
from batchproc.redact import printable, redact_url

MAX_URL_CHARS = 8000

# The quick path: a line of this form and without "/." is canonical but for its authority. A percent sign is followed
# by upper-case digits that stand for no unreserved character. Possessive quantifiers: no backtracking, linear time.
_PERCENT = "%(?:2[0-9A-CF]|3[A-F]|40|5[B-E]|60|7[B-DF]|[0189A-F][0-9A-F])"
_PATH = f"(?:[A-Za-z0-9_.~!$&'()*+,;=:@/-]++|{_PERCENT})*+"
_QUERY = rf"(?:\?(?:[A-Za-z0-9_.~!$&'()*+,;=:@/?-]++|{_PERCENT})*+)?+"
_QUICK = re.compile(rf"(https?)://([A-Za-z0-9.:_-]++)/{_PATH}{_QUERY}")
# The quickest: such a text is canonical, if it has no "/." and is not too long. Its authority is a host in lower case
# alone, whose labels are short and claim to be no punycode.
_LABEL = "(?!xn--)[a-z0-9_-]{1,63}+"
CANONICAL = re.compile(rf"https?://(?=[^/]{{1,253}}/){_LABEL}(?:\.{_LABEL})*+/{_PATH}{_QUERY}")
_QUICK_RELATIVE = re.compile(rf"/?[A-Za-z0-9_~-][A-Za-z0-9_.~/-]*+{_QUERY}")

# To a line of this form and without "/." the root is all that `urljoin` adds. It would drop an empty query.
_FROM_ROOT = re.compile(r"/[A-Za-z0-9_~%-][A-Za-z0-9_.~%/-]*+(?:\?[A-Za-z0-9_.~!$&'()*+,;=:@/?%-]++)?+")

_PARTS = re.compile(r"(?:([^:/?#]+):)?(?://([^/?#]*))?([^?#]*)(\?[^#]*)?(?:#.*)?", re.DOTALL)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_ILLEGAL = re.compile(r"[\x00-\x20\x7f-\x9f]")
_DEFAULT_PORTS = {"http": 80, "https": 443}

_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})")
_STRAY_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TO_ENCODE = {
    "path": re.compile("[^A-Za-z0-9_.~!$&'()*+,;=:@/%-]"),
    "query": re.compile("[^A-Za-z0-9_.~!$&'()*+,;=:@/?%-]"),
}
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")


class BadUrl(Exception):
    """Why a text cannot be downloaded: a failure code and a sentence."""

    def __init__(self, *, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def canonical(text: str, *, relative: bool = False, local: bool = False) -> str:
    """The canonical form of an http or https URL; with `relative` also of a relative reference, with `local` of a
    file's. Raises `BadUrl`."""
    if len(text) > MAX_URL_CHARS:
        _refuse_long(text)
    if (quick := _QUICK.fullmatch(text)) and "/." not in text:
        scheme, authority = quick[1], quick[2]
        good = canonical_authority(scheme, authority)
        return text if good == authority else f"{scheme}://{good}{text[quick.end(2) :]}"
    if relative and _QUICK_RELATIVE.fullmatch(text) and "/." not in text:
        return text
    if local and text[:5].lower() == "file:":
        return _canonical_file(text)
    return _canonical_slowly(text, relative=relative)


def _canonical_file(text: str) -> str:
    """RFC 8089, of this machine: there is no query, and nothing behind a `#`."""
    if found := _ILLEGAL.search(text) or re.search(r"[?#]", text):
        raise _no_url(f'"{printable(found[0])}" at position {found.start() + 1}: write %{ord(found[0]):02X} for it')
    _, authority, path, _ = _split(text)
    if authority and authority.lower() != "localhost":
        raise _no_url(f'the file is said to be on "{printable(authority[:80])}"; this machine is file:///')
    if not path.startswith("/"):
        raise _no_url("the path of a file begins at the root, as file:///srv/photos/a.jpg")
    url = f"file://{_remove_dots(_encode(path, 'path'), absolute=True)}"
    if len(url) > MAX_URL_CHARS:
        _refuse_long(url)
    return url


def is_same_url(first: str, second: str) -> bool:
    """Whether two texts are one URL, spelled in two ways perhaps."""
    try:
        return first == second or canonical(first) == canonical(second)
    except BadUrl:
        return False


def as_listed(text: str, url: str) -> str:
    """What is requested and shown of a line: its text, where that is a URL but for its spelling; else `url`, its
    canonical form. Servers compare the bytes of signed URLs, so the canonical form is for the item's identity alone.
    """
    if text == url or "/." in text or url.startswith("file:"):  # dot segments are never sent
        return url
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair
        return url
    scheme, colon, rest = text.partition(":")
    return f"{scheme.lower()}:{rest}" if colon and rest.startswith("//") else text


def joiner(base_url: str) -> Callable[[str], str]:
    """A function that makes a canonical URL absolute: joined with `base_url` where it is relative (RFC 3986, 5.2)."""
    folder = urljoin(base_url, ".") if base_url else ""
    root = urljoin(base_url, "/").removesuffix("/") if base_url else ""

    def join(url: str) -> str:
        if not base_url or url.startswith(("http://", "https://", "file://")):
            return url
        if url[0] not in "/?.":
            return folder + url
        return root + url if _FROM_ROOT.fullmatch(url) and "/." not in url else urljoin(base_url, url)

    return join


@lru_cache(maxsize=8192)
def canonical_authority(scheme: str, authority: str) -> str:
    """`user@host:port` with a canonical host and without the scheme's default port. Raises `BadUrl`."""
    user, at, host_port = authority.rpartition("@")
    host, port = _split_port(host_port)
    if not host:
        raise _no_url("the host is missing")
    host = _ipv6(host) if host.startswith("[") else _host(host)
    shown_port = f":{port}" if port is not None and port != _DEFAULT_PORTS.get(scheme) else ""
    return f"{_encode(user, 'path').replace('@', '%40')}{at}{host}{shown_port}"


def _canonical_slowly(text: str, *, relative: bool) -> str:
    if found := _ILLEGAL.search(text):
        what = "a space (write %20)" if found[0] == " " else f"the control character {printable(found[0])}"
        raise _no_url(f"{what} at position {found.start() + 1}")
    scheme, authority, path, query = _split(text)
    if authority and "\\" in authority:
        rest = f"{authority}{path}".replace("\\", "/") + query
        raise _no_url(f"a backslash stands where a slash belongs{_likely(scheme or 'http', rest)}")
    if scheme is None and not relative:
        raise BadUrl(code=Code.POLICY_SCHEME, message="no scheme: an absolute URL begins with http:// or https://")
    if scheme is not None and (scheme := scheme.lower()) not in _DEFAULT_PORTS:
        raise BadUrl(code=Code.POLICY_SCHEME, message=f'the scheme "{printable(scheme[:30])}" is not http or https')
    if scheme is not None and authority is None:
        raise _no_url(f"the host is missing{_likely(scheme, path.lstrip('/') + query)}")
    path = _remove_dots(_encode(path, "path"), absolute=authority is not None)
    query = _encode(query, "query")
    start = "" if scheme is None else f"{scheme}:"
    if authority is not None:
        path = f"{start}//{canonical_authority(scheme or '', authority)}{path or '/'}"
    if not path + query:
        raise _no_url("it names no file")
    if len(path + query) > MAX_URL_CHARS:
        _refuse_long(path + query)
    return path + query


def _refuse_long(url: str) -> NoReturn:
    raise BadUrl(code=Code.INPUT_URL_TOO_LONG, message=f"{len(url)} characters, the limit is {MAX_URL_CHARS}")


def _split(text: str) -> tuple[str | None, str | None, str, str]:
    """Scheme, authority, path and query with its question mark; a colon that follows no scheme's name is path."""
    match = _PARTS.fullmatch(text)
    if match is None:  # the pattern takes any text
        raise _no_url("it cannot be taken apart")
    scheme, authority, path, query = match.groups()
    if scheme is not None and not _SCHEME.fullmatch(scheme):
        raise _no_url(f'"{printable(scheme[:30])}" cannot be a scheme')
    return scheme, authority, path, query or ""


def _split_port(host_port: str) -> tuple[str, int | None]:
    host, colon, port = host_port.rpartition(":")
    if not colon or (host_port.startswith("[") and host_port.endswith("]")):
        return host_port, None
    if not port:
        return host, None
    if not (port.isascii() and port.isdecimal() and 0 < int(port[:9]) < 65536):
        # Anything but digits may be the beginning of a password that has a raw slash, "?" or "#" in it.
        shown = f'"{port[:20]}"' if port.isascii() and port.isdecimal() else "after its host"
        raise _no_url(f"the port {shown} is not a number from 1 to 65535")
    return host, int(port)


def _ipv6(host: str) -> str:
    try:
        address = IPv6Address(host.removeprefix("[").removesuffix("]"))
    except AddressValueError:
        address = None
    if address is None or address.scope_id:
        raise _no_url(f'"{printable(host[:60])}" is no IPv6 address')
    return f"[{address.compressed}]"


def _host(host: str) -> str:
    """The host name in ASCII and lower case, without the root's dot."""
    try:
        return ascii_host(host)
    except ValueError as error:
        raise _no_url(f'the host "{printable(host[:80])}" {error}') from None


def _encode(text: str, kind: str) -> str:
    """Percent-encodes what may not stand there, decodes what need not be; upper-case digits (RFC 3986, 6.2.2)."""
    if not text:
        return text
    text = _STRAY_PERCENT.sub("%25", text)
    text = _ENCODED.sub(_shortest, text)
    return _TO_ENCODE[kind].sub(lambda match: "".join(_percent(match[0])), text)


def _shortest(match: re.Match[str]) -> str:
    character = chr(int(match[1], 16))
    return character if character in _UNRESERVED else f"%{match[1].upper()}"


def _percent(character: str) -> Iterator[str]:
    return (f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))


def _remove_dots(path: str, *, absolute: bool) -> str:
    """RFC 3986, 5.2.4. A relative path keeps the `..` that lead out of it."""
    if "." not in path:
        return path
    rooted = absolute or path.startswith("/")
    kept: list[str] = []
    segments = path.split("/")
    for segment in segments:
        if segment == ".." and (len(kept) > 1 if rooted else kept and kept[-1] != ".."):
            kept.pop()
        elif segment not in (".", "..") or (segment == ".." and not rooted):
            kept.append(segment)
    if segments[-1] in (".", "..") and kept[-1:] != [""] and kept[-1:] != [".."]:
        kept.append("")
    joined = "/".join(kept)
    if absolute:
        return joined
    if joined.startswith("//"):  # or it would name a host
        return f"/.{joined}"
    leads_elsewhere = not rooted and (joined.startswith("/") or ":" in joined.split("/")[0])
    return f"./{joined}" if leads_elsewhere else joined


def _likely(scheme: str, rest: str) -> str:
    """A guess at what was meant, to stand behind a message; nothing where it would be none."""
    guess = f"{scheme}://{rest}"
    try:
        canonical(guess)
    except BadUrl:
        return ""
    return f": perhaps {printable(redact_url(guess)[:200])} was meant"


def _no_url(message: str) -> BadUrl:
    return BadUrl(code=Code.INPUT_URL, message=message)
