"""What a client asked for, and what each URL answers, ready made in memory with the fault of the URL already in it."""

import hashlib
from dataclasses import dataclass, replace
from email.utils import formatdate
from pathlib import Path
from urllib.parse import unquote

from batchproc.errors import Problem, UsageError
from batchproc.origin.settings import SLOW_SECONDS, TRUNCATED_SHARE, Entry, Fault, OriginSettings
from batchproc.sniff import Nature, identify

MADE_AT = 1_760_000_000  # Last-Modified of the generated pictures, always the same: October 2025
MAX_PHOTOS_BYTES = 2_000_000_000

OTHER_TYPES = {"JPEG 2000": "image/jp2", "HEIC": "image/heic"}

LOGIN_PAGE = (
    b"<!DOCTYPE html>\n<html><head><title>Please sign in</title></head>\n"
    b"<body><h1>Please sign in to see this picture</h1></body></html>\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer. The head stops where the Date is put in; `body` is what is sent, however long the head says it is."""

    head: bytes
    body: bytes = b""
    etag: bytes = b""
    unchanged_head: bytes = b""  # of a 304; empty = it has none
    delay_seconds: float = 0.0  # on top of the latency
    latency_seconds: float | None = None  # its own, in place of the origin's with its jitter
    closes: bool = False
    index: int = -1  # of its URL: decides the jitter; -1 = shared by many
    every_odd: "Answer | None" = None  # stands in for this one at the first, third, fifth ... request


def plain(status: str, text: str, *, closes: bool = False, fields: str = "") -> Answer:
    """A short answer in plain text."""
    body = text.encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {len(body)}\r\n{fields}"
    return Answer(head=head.encode() + (b"Connection: close\r\n" if closes else b""), body=body, closes=closes)


def content_type(content: bytes) -> str:
    """The type of a picture by its first bytes."""
    found = identify(content)
    if found.nature is Nature.ACCEPTED:
        return f"image/{found.name}"
    return OTHER_TYPES.get(found.name, "application/octet-stream")


def picture(content: bytes, *, modified: float = MADE_AT, type_name: str = "") -> Answer:
    """A picture as it should be sent; its type is told by its first bytes unless `type_name` says otherwise."""
    etag = f'"{hashlib.blake2b(content, digest_size=12).hexdigest()}"'
    validators = f"ETag: {etag}\r\nLast-Modified: {formatdate(modified, usegmt=True)}\r\n"
    type_name = type_name or content_type(content)
    head = f"HTTP/1.1 200 OK\r\nContent-Type: {type_name}\r\nContent-Length: {len(content)}\r\n{validators}"
    unchanged = f"HTTP/1.1 304 Not Modified\r\n{validators}"
    return Answer(head=head.encode(), body=content, etag=etag.encode(), unchanged_head=unchanged.encode())


def corrupted(content: bytes) -> bytes:
    """Overwrites a part of a picture that its decoder cannot do without; its head still looks right.

    In a JPEG the first Huffman table: a decoder only warns of damage in the scan itself. In others a stretch of the
    middle, or for WebP the head of the first partition.
    """
    damaged = bytearray(content)
    if content.startswith(b"\xff\xd8"):
        start = content.find(b"\xff\xc4") + 4
    elif content[8:12] == b"WEBP":
        start = 23
    else:
        start = len(content) // 2
    damaged[start : start + 64] = b"\xff" * len(damaged[start : start + 64])
    return bytes(damaged)


def faulty(good: Answer, fault: Fault | None) -> Answer:
    """The answer of a URL that misbehaves in this way."""
    if fault is Fault.NOT_FOUND:
        return plain("404 Not Found", "no such picture\n")
    if fault is Fault.TRUNCATED:
        return replace(good, body=good.body[: int(len(good.body) * TRUNCATED_SHARE)], closes=True)
    if fault is Fault.HTML:
        return picture(LOGIN_PAGE, type_name="image/jpeg")
    if fault is Fault.CORRUPT:
        return picture(corrupted(good.body))
    if fault is Fault.SLOW:
        return replace(good, delay_seconds=SLOW_SECONDS)
    if fault is Fault.UNAVAILABLE:
        return replace(good, every_odd=plain("503 Service Unavailable", "try again\n"))
    return good


def prepare(settings: OriginSettings, entries: tuple[Entry, ...]) -> dict[str, Answer]:
    """Makes or reads every picture: the answer of each path, unquoted.

    Raises `UsageError` when the user's pictures cannot be read or do not fit in memory.
    """
    if settings.photos:
        pictures = _photos(Path(settings.photos), entries)
    else:
        from batchproc.origin.cache import load_pictures  # Pillow is of no use to whoever serves photos

        pictures = [picture(content) for content in load_pictures(settings.images, settings.seed)]
    return {
        unquote(entry.path): replace(
            faulty(good, entry.fault), index=entry.index, latency_seconds=settings.latencies.get(entry.path)
        )
        for entry, good in zip(entries, pictures, strict=True)
    }


def _photos(folder: Path, entries: tuple[Entry, ...]) -> list[Answer]:
    where = f'[origin] photos = "{folder}"'
    files = [folder / unquote(entry.path[1:]) for entry in entries]
    try:
        total = sum(file.stat().st_size for file in files)
        if total > MAX_PHOTOS_BYTES:
            most = MAX_PHOTOS_BYTES / 1e9
            message = f"holds {total / 1e9:.1f} GB of pictures; they are held in memory, {most:.0f} GB at most"
            raise UsageError([Problem(where=where, message=message)])
        return [picture(file.read_bytes(), modified=file.stat().st_mtime) for file in files]
    except OSError as error:
        message = f"cannot be read: {error.filename}: {error.strerror}"
        raise UsageError([Problem(where=where, message=message)]) from None


def index_page(base_url: str, entries: tuple[Entry, ...]) -> Answer:
    """The list of all URLs as text, fit to be the input of a job; the faults stand in its comments."""
    lines = [f"# {len(entries)} pictures"]
    lines += [f"# misbehaves: {entry.path} {entry.fault}" for entry in entries if entry.fault]
    lines += [base_url + entry.path for entry in entries]
    return plain("200 OK", "\n".join(lines) + "\n")


BAD_REQUEST = plain("400 Bad Request", "not a request this server understands\n", closes=True)
BAD_METHOD = plain("405 Method Not Allowed", "only GET and HEAD\n", closes=True, fields="Allow: GET, HEAD\r\n")
BAD_VERSION = plain("505 HTTP Version Not Supported", "HTTP/1.1, please\n", closes=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientRequest:
    """What matters of a request."""

    path: str
    head_only: bool
    closes: bool
    known_etags: bytes


def parse(head: bytes) -> ClientRequest | Answer:
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
    return ClientRequest(
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
