"""The chunked transfer coding, taken apart as it arrives (RFC 9112, section 7.1)."""

import re

from batchproc.download.head import protocol_error

_SIZE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;.*)?", re.DOTALL)
_LONGEST_LINE = 4096
_MOST_TRAILER_BYTES = 16384


class ChunkDecoder:
    """Turns the bytes of a chunked body into its content. Fed by one reader; holds at most one unfinished line."""

    def __init__(self) -> None:
        self.done = False  # the last chunk and the trailer have been seen
        self.surplus = False  # bytes came after the end
        self._pending = b""
        self._left = 0  # bytes of content in the present chunk
        self._between = False  # the line end after a chunk is due
        self._trailer_bytes = -1  # below 0: not in the trailer

    def feed(self, octets: bytes) -> bytes:
        """The content in `octets`, never more bytes than were fed. Raises `StageError` `proto`."""
        content: list[bytes] = []
        data = self._pending + octets if self._pending else octets
        position = 0
        while not self.done:
            if self._left:
                piece = data[position : position + self._left]
                if not piece:
                    break
                content.append(piece)
                position += len(piece)
                self._left -= len(piece)
                self._between = self._left == 0
                continue
            end = data.find(b"\n", position, position + _LONGEST_LINE)
            if end < 0:
                break
            self._line(data[position:end].removesuffix(b"\r"))
            position = end + 1
        self._pending = data[position:]
        self._check_rest()
        return b"".join(content)

    def _check_rest(self) -> None:
        if self.done:
            self.surplus = bool(self._pending)
        elif len(self._pending) >= _LONGEST_LINE:
            raise protocol_error("the reply has an endless line between its chunks")

    def _line(self, line: bytes) -> None:
        if self._trailer_bytes >= 0:
            self._trailer_line(line)
        elif self._between:
            if line:
                raise protocol_error("a chunk of the reply is longer than its size")
            self._between = False
        else:
            size = _SIZE.fullmatch(line)
            if size is None:
                raise protocol_error("a chunk of the reply has no valid size")
            self._left = int(size[1], 16)
            self._trailer_bytes = -1 if self._left else 0

    def _trailer_line(self, line: bytes) -> None:
        self._trailer_bytes += len(line)
        if self._trailer_bytes > _MOST_TRAILER_BYTES:
            raise protocol_error("the reply has an endless trailer")
        self.done = not line
