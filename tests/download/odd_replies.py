"""Replies that are odd but harmless, as real servers send them: what curl and requests take, and what is taken here.

One table for the suite, which asks this program alone, and for `python -m tests.campaign.odd_replies`, which also asks
the other two.
"""

import gzip
import zlib
from dataclasses import dataclass

from tests.download.scripted import JPEG

LENGTH = f"Content-Length: {len(JPEG)}\r\n".encode()
CHUNKS = f"{len(JPEG):x}\r\n".encode() + JPEG + b"\r\n0\r\n\r\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Odd:
    """A reply in bytes, and the code that it fails with here; empty: it brings its picture.

    `why`: the reason, where curl and requests both take it and this program does not.
    """

    name: str
    octets: bytes
    code: str = ""
    why: str = ""


def _reply(name: str, fields: bytes, status: bytes = b"200 OK", code: str = "", why: str = "") -> Odd:
    octets = b"HTTP/1.1 " + status + b"\r\n" + LENGTH + fields + b"\r\n" + JPEG
    return Odd(name=name, octets=octets, code=code, why=why)


def _coded(name: str, label: bytes, body: bytes, code: str = "", why: str = "") -> Odd:
    fields = b"Content-Encoding: " + label + b"\r\nContent-Length: %d\r\n" % len(body)
    return Odd(name=name, octets=b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n" + body, code=code, why=why)


def _raw(name: str, octets: bytes, code: str = "", why: str = "") -> Odd:
    return Odd(name=name, octets=octets, code=code, why=why)


ERROR_STATUS = "an error's body is no picture; requests and curl leave the judgement to their caller"

ODD_REPLIES = (
    # labels that are no coding
    *(_coded(f"coding-{label.decode() or 'empty'}", label, JPEG)
      for label in (b"none", b"aws-chunked", b"UTF-8", b"binary", b"", b"identity", b"Identity", b"8bit", b"image/jpeg",
                    b"br", b"gzip, identity", b"none, none")),
    _coded("gzip", b"gzip", gzip.compress(JPEG)),
    _coded("GZIP-in-capitals", b"GZIP", gzip.compress(JPEG)),
    _coded("x-gzip", b"x-gzip", gzip.compress(JPEG)),
    _coded("deflate", b"deflate", zlib.compress(JPEG)),
    _coded("deflate-bare", b"deflate", zlib.compress(JPEG)[2:-4]),
    _coded("gzip-around-a-plain-picture", b"gzip", JPEG),
    _coded("gzip-with-identity", b"identity, gzip", gzip.compress(JPEG)),
    # transfer codings
    _raw("chunked", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    _raw("chunked-twice",
         b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    _raw("chunked-in-capitals", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n" + CHUNKS),
    _raw("chunked-after-identity", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: identity, chunked\r\n\r\n" + CHUNKS),
    _raw("chunked-with-a-length", b"HTTP/1.1 200 OK\r\n" + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKS),
    _raw("chunk-extension", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         + f"{len(JPEG):x};name=value\r\n".encode() + JPEG + b"\r\n0\r\n\r\n"),
    _raw("chunk-size-with-zeros", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         + f"0000{len(JPEG):X}\r\n".encode() + JPEG + b"\r\n0\r\n\r\n"),
    _raw("chunked-trailer", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
         + CHUNKS[:-2] + b"X-Checksum: 1\r\n\r\n"),
    _reply("transfer-identity", b"Transfer-Encoding: identity\r\n"),
    # status codes
    *(_reply(f"status-{status.decode()[:3]}", b"", status) for status in (
        b"200 OK", b"201 Created", b"202 Accepted", b"203 Non-Authoritative Information", b"207 Multi-Status",
        b"226 IM Used", b"299 Whatever")),
    _reply("status-206-whole", b"Content-Range: bytes 0-%d/%d\r\n" % (len(JPEG) - 1, len(JPEG)), b"206 Partial"),
    _reply("status-206-part", b"Content-Range: bytes 0-%d/999999\r\n" % (len(JPEG) - 1), b"206 Partial", "proto",
           why="the range says that it is a part of the picture"),
    _reply("status-404-with-a-picture", b"", b"404 Not Found", "http.404", why=ERROR_STATUS),
    _reply("status-500-with-a-picture", b"", b"500 Oops", "http.500", why=ERROR_STATUS),
    _reply("status-without-reason", b"", b"200"),
    _reply("status-with-an-empty-reason", b"", b"200 "),
    _reply("status-with-a-latin-1-reason", b"", b"200 D\xe9j\xe0"),
    _raw("http-1.0", b"HTTP/1.0 200 OK\r\n" + LENGTH + b"\r\n" + JPEG),
    _raw("http-1.0-until-the-end", b"HTTP/1.0 200 OK\r\n\r\n" + JPEG),
    _raw("no-length", b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + JPEG),
    _raw("interim-100", b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + JPEG),
    _raw("interim-103", b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + JPEG),
    _raw("early-hints-twice",
         b"HTTP/1.1 103 Early Hints\r\n\r\n" * 2 + b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + JPEG),
    # header lines
    _raw("bare-line-feeds", (b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n").replace(b"\r\n", b"\n") + JPEG),
    _reply("no-space-behind-the-colon", b"X-A:b\r\n"),
    _reply("many-spaces-behind-the-colon", b"X-A:     b   \r\n"),
    _reply("tab-behind-the-colon", b"X-A:\tb\r\n"),
    _reply("empty-value", b"X-A:\r\n"),
    _reply("latin-1-value", b"X-A: \xe9\r\n"),
    _reply("utf-8-value", "X-A: é\r\n".encode()),
    _reply("control-in-a-value", b"X-A: a\x01b\r\n"),
    _reply("colons-in-a-value", b"X-A: a:b:c\r\n"),
    _reply("long-value", b"X-A: " + b"v" * 8000 + b"\r\n"),
    _reply("ninety-lines", b"".join(b"X-%d: v\r\n" % at for at in range(90))),
    _reply("same-name-twice", b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n"),
    _reply("length-twice-equal", LENGTH),
    _reply("lower-case-names", b"x-lower: y\r\n"),
    _reply("underscore-in-a-name", b"X_A: b\r\n"),
    _reply("dot-in-a-name", b"x.a: b\r\n"),
    _raw("length-with-a-plus", b"HTTP/1.1 200 OK\r\nContent-Length: +%d\r\n\r\n" % len(JPEG) + JPEG, "proto",
         why="RFC 9112, section 6.3: a length is digits; two readers of another one may not agree where a reply ends"),
    _raw("length-with-zeros", b"HTTP/1.1 200 OK\r\nContent-Length: 000%d\r\n\r\n" % len(JPEG) + JPEG),
    _raw("length-with-spaces", b"HTTP/1.1 200 OK\r\nContent-Length:   %d  \r\n\r\n" % len(JPEG) + JPEG),
    _raw("folded-line", b"HTTP/1.1 200 OK\r\n" + LENGTH + b"X-A: b\r\n  c\r\n\r\n" + JPEG),
    _raw("space-before-the-colon", b"HTTP/1.1 200 OK\r\n" + LENGTH + b"X-A : b\r\n\r\n" + JPEG),
    _raw("line-without-a-colon", b"HTTP/1.1 200 OK\r\n" + LENGTH + b"nonsense\r\n\r\n" + JPEG, "proto"),
    _raw("folded-length", b"HTTP/1.1 200 OK\r\nContent-Length:\r\n %d\r\n\r\n" % len(JPEG) + JPEG, "proto",
         why="what says where a body ends must not be read in two ways"),
    # types
    _reply("no-type", b""),
    _reply("text-type-around-a-picture", b"Content-Type: text/html\r\n"),
    _reply("octet-stream", b"Content-Type: application/octet-stream\r\n"),
    _reply("nonsense-type", b"Content-Type: ;;;\r\n"),
    _reply("attachment", b'Content-Disposition: attachment; filename="a\\"b.jpg"\r\n'),
    # connection
    _reply("close", b"Connection: close\r\n"),
    _reply("close-and-keep-alive", b"Connection: keep-alive, close\r\n"),
    _reply("keep-alive-nonsense", b"Keep-Alive: timeout=abc, max\r\n"),
    _reply("upgrade-offered", b"Upgrade: h2,h2c\r\nConnection: Upgrade\r\n"),
    _reply("alt-svc", b'Alt-Svc: h3=":443"; ma=86400\r\n'),
    _raw("bytes-behind-the-end", b"HTTP/1.1 200 OK\r\n" + LENGTH + b"\r\n" + JPEG + b"\r\n\r\n"),
)  # fmt: skip
