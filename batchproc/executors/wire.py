"""Framing on a worker's pipe: a pickled head, and an image's bytes raw behind it.

To pickle 155 KB would copy them twice more; `send_bytes` hands them to the kernel as they are. The first byte of the
head says whether such a payload follows.
"""

import pickle
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

from batchproc.model import Item, Original

Pipe: TypeAlias = "Connection[Any, Any]"

ALONE, WITH_PAYLOAD = b"\x00", b"\x01"


@dataclass(frozen=True, slots=True)
class Packed:
    """A message as bytes, ready to be sent or just received."""

    head: bytes
    payload: bytes | None = None

    @property
    def size_bytes(self) -> int:
        return len(self.head) + len(self.payload or b"")


def pack(item: Any, *rest: Any) -> Packed:
    """Packs `(item, *rest)`; the content of an original travels as payload. Raises whatever pickle raises."""
    if isinstance(item, Item) and isinstance(item.value, Original):
        light = replace(item, value=replace(item.value, content=b""))
        return Packed(WITH_PAYLOAD + pickle.dumps((light, *rest), pickle.HIGHEST_PROTOCOL), item.value.content)
    return Packed(ALONE + pickle.dumps((item, *rest), pickle.HIGHEST_PROTOCOL))


def unpack(packed: Packed) -> tuple[Any, ...]:
    """What `pack` was given."""
    item, *rest = pickle.loads(memoryview(packed.head)[1:])
    if packed.payload is not None:
        item = replace(item, value=replace(item.value, content=packed.payload))
    return (item, *rest)


def send(pipe: Pipe, packed: Packed) -> None:
    """Sends a message; blocks while the pipe is full. Raises OSError when the other end is gone."""
    pipe.send_bytes(packed.head)
    if packed.payload is not None:
        pipe.send_bytes(packed.payload)


def receive(pipe: Pipe) -> Packed:
    """Waits for the next message. Raises EOFError or OSError when the other end is gone."""
    head = pipe.recv_bytes()
    return Packed(head, pipe.recv_bytes() if head[:1] == WITH_PAYLOAD else None)
