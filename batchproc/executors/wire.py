"""What a worker and its parent tell each other: short messages on a pipe, long ones in memory that both have open.

A pipe holds some 64 to 200 KB: beyond that whoever sends waits until the other side reads, and a hung worker never
does. A short message never waits, so one thread of the parent can serve every worker and watch their deadlines, too.
The content of an original travels raw behind the pickled rest: to pickle 155 KB would copy them twice more.
"""

import os
import pickle
import struct
import sys
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from msgspec import Struct
from msgspec.structs import replace

from batchproc.model import SourceImage

Pipe: TypeAlias = "Connection[Any, Any]"

SHORT_BYTES = 8192  # two of them fit into every pipe
KEPT_BYTES = 2**20  # of memory for long messages, from one to the next
_READ_BYTES = 65536
_FRAME = struct.Struct("<IB")  # the length of what follows, and where the message is
_HERE = 255  # it is what follows; else that is its lengths on the shelf of this number
_LENGTHS = struct.Struct("<QQ")


class Packed(Struct, frozen=True):
    """A message as bytes, ready to be sent."""

    head: bytes
    payload: bytes = b""

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.payload)


def pack(*parts: Any) -> Packed:
    """Packs the parts; the content of an original that is the first travels as payload. Raises what pickle raises."""
    value = parts[0]
    if isinstance(value, SourceImage) and value.content:
        light = replace(value, content=b"")
        return Packed(pickle.dumps((light, *parts[1:]), pickle.HIGHEST_PROTOCOL), value.content)
    return Packed(pickle.dumps(parts, pickle.HIGHEST_PROTOCOL))


def unpack(packed: Packed) -> tuple[Any, ...]:
    """What `pack` was given."""
    parts: tuple[Any, ...] = pickle.loads(packed.head)
    return (replace(parts[0], content=packed.payload), *parts[1:]) if packed.payload else parts


def open_memory() -> Pipe:
    """Memory for long messages, dressed as a pipe: so it can be given to a new process."""
    if sys.platform == "linux":
        return Connection(os.memfd_create("batchproc", os.MFD_CLOEXEC))
    import tempfile  # slow to import, and every worker's fork server would

    with tempfile.TemporaryFile() as file:
        return Connection(os.dup(file.fileno()))


class Post:
    """One side's end of both. For one thread.

    `shelves` hold long messages, a job's and its reply's one after the other: by the time that a job goes to a shelf,
    the last one's reply has been read from it.
    """

    def __init__(self, pipe: Pipe, shelves: tuple[Pipe, ...]) -> None:
        self.pipe = pipe
        self.shelves = shelves
        self._large: set[int] = set()  # shelves that hold more than is to be kept
        self._received = b""  # that is not taken yet

    def send(self, packed: Packed, turn: int = 0) -> None:
        """Sends a message, without waiting; `turn` is its job's number. Raises OSError when the other end is gone."""
        short, place = packed.head, _HERE
        if packed.payload or len(short) > SHORT_BYTES:
            place = turn % len(self.shelves)
            self._write(place, packed)
            short = _LENGTHS.pack(len(packed.head), len(packed.payload))
        os.write(self.pipe.fileno(), _FRAME.pack(len(short), place) + short)

    @property
    def has_more(self) -> bool:
        """Whether another message is here already: the pipe does not tell."""
        return bool(self._received)

    def receive(self) -> Packed:
        """Waits for the next message. Raises EOFError or OSError when the other end is gone."""
        octets = self._received or self._read()
        while len(octets) < _FRAME.size or len(octets) < (end := _FRAME.size + _FRAME.unpack_from(octets)[0]):
            octets += self._read()
        place = octets[_FRAME.size - 1]
        short, self._received = octets[_FRAME.size : end], octets[end:]
        if place == _HERE:
            return Packed(short)
        head, payload = _LENGTHS.unpack(short)
        shelf = self.shelves[place].fileno()
        return Packed(os.pread(shelf, head, 0), os.pread(shelf, payload, head))

    def _read(self) -> bytes:
        octets = os.read(self.pipe.fileno(), _READ_BYTES)
        if not octets:
            raise EOFError
        return octets

    def close(self) -> None:
        """Gives the descriptors back."""
        for each in (self.pipe, *self.shelves):
            each.close()

    def _write(self, place: int, packed: Packed) -> None:
        shelf, size_bytes = self.shelves[place].fileno(), packed.size_bytes
        if size_bytes > KEPT_BYTES:
            self._large.add(place)
        elif place in self._large:
            os.ftruncate(shelf, KEPT_BYTES)
            self._large.discard(place)
        written = os.pwritev(shelf, (packed.head, packed.payload), 0)
        while written < size_bytes:  # never seen; a system may say less than it was asked for
            written += os.pwrite(shelf, memoryview(packed.head + packed.payload)[written:], written)
