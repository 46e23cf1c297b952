"""A writer of WebP's container: still pictures and animations, with any flags. Pillow encodes the frames."""

import struct
from collections.abc import Iterator
from typing import Any

from PIL import Image

from tests.transform.drawing import encoded

ALPHA, ANIMATED, EXIF, ICC = 0x10, 0x02, 0x08, 0x20
WHITE = (255, 255, 255, 255)


def chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<L", len(content)) + content + bytes(len(content) % 2)


def webp(*chunks: bytes) -> bytes:
    whole = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<L", len(whole)) + whole


def u24(value: int) -> bytes:
    return struct.pack("<L", value)[:3]


def extended(width: int, height: int, flags: int = 0) -> bytes:
    return chunk(b"VP8X", bytes((flags, 0, 0, 0)) + u24(width - 1) + u24(height - 1))


def parts(picture: Image.Image, **options: Any) -> list[bytes]:
    """The chunks of an encoded picture: ALPH and VP8, or VP8L."""
    return [part for part in chunks_of(encoded(picture, "WEBP", **options)) if part[:4] in (b"ALPH", b"VP8 ", b"VP8L")]


def chunks_of(content: bytes) -> Iterator[bytes]:
    at = 12
    while at < len(content):
        end = at + 8 + struct.unpack_from("<L", content, at + 4)[0]
        end += end % 2
        yield content[at:end]
        at = end


def animation(width: int, height: int, *frames: bytes, flags: int = 0) -> bytes:
    return webp(extended(width, height, ANIMATED | flags), chunk(b"ANIM", bytes(WHITE) + b"\x00\x00"), *frames)


def frame(left: int, top: int, picture: Image.Image, **options: Any) -> bytes:
    place = u24(left // 2) + u24(top // 2) + u24(picture.width - 1) + u24(picture.height - 1) + u24(100) + b"\x00"
    return chunk(b"ANMF", place + b"".join(parts(picture, **options)))
