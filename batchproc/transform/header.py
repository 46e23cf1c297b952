"""Questions to a file's frame, without a decoder: how large a WebP says it is, what was cut short."""

from collections.abc import Callable

from batchproc.transform.view import Size


def webp_size(content: bytes) -> Size | None:
    """The size in a WebP's header, None where it is not readable. The decoder allocates the canvas as it opens.

    Source: RFC 9649, sections 2.5 to 2.7; RFC 6386, section 9.1.
    """
    chunk = content[12:16]
    if chunk == b"VP8X" and len(content) >= 30:
        return 1 + int.from_bytes(content[24:27], "little"), 1 + int.from_bytes(content[27:30], "little")
    if chunk == b"VP8L" and len(content) >= 25:
        bits = int.from_bytes(content[21:25], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if chunk == b"VP8 " and len(content) >= 30:
        return int.from_bytes(content[26:28], "little") & 0x3FFF, int.from_bytes(content[28:30], "little") & 0x3FFF
    return None


def is_cut(content: bytes, kind: str) -> bool:
    """Whether a file that would not decode lacks its end. Never raises."""
    test = _CUT.get(kind)
    return test is not None and test(content)


def _cut_webp(content: bytes) -> bool:
    return len(content) < 12 or len(content) < 8 + int.from_bytes(content[4:8], "little")


def _cut_avif(content: bytes) -> bool:
    """Walks the top-level boxes (ISO/IEC 14496-12, 4.2): each says where the next begins."""
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16])
        if length == 0:  # up to the end of the file
            return False
        if length < 8:
            return True
        at += length
    return at > len(content)


_CUT: dict[str, Callable[[bytes], bool]] = {
    "jpeg": lambda content: not content.rstrip(b"\x00\r\n").endswith(b"\xff\xd9"),
    "png": lambda content: b"IEND\xaeB`\x82" not in content,
    "gif": lambda content: not content.rstrip(b"\x00").endswith(b";"),
    "webp": _cut_webp,
    "avif": _cut_avif,
}
