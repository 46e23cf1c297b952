"""Which part may be handed out next: never two at once that ask the hosts of one domain."""

from collections import deque

from msgspec import Struct


class Part(Struct, frozen=True, kw_only=True):
    """A part to be done: a range of lines in an object of the output. `avoid`: workers where it failed before."""

    number: int
    generation: int
    list_name: str
    offset: int
    size_bytes: int
    items: int
    first_shard: int
    domain: str | None = None
    tries: int = 0
    avoid: frozenset[str] = frozenset()

    @property
    def place(self) -> tuple[int, int]:
        """What tells it from others."""
        return self.number, self.generation


class PartQueue:
    """Parts in the order in which they came; of those of one domain only one is out at a time. For one thread.

    What follows upon a part comes before all others: a row of slices takes its time whatever the workers, and would
    last beyond the rest if each of its slices had to wait for that.
    """

    def __init__(self) -> None:
        self._ready: deque[Part] = deque()
        self._held: dict[str, deque[Part]] = {}  # by domain, of which one is out or ready

    def __bool__(self) -> bool:
        """Whether there is one to hand out now."""
        return bool(self._ready)

    @property
    def size(self) -> int:
        """How many wait, those included that have to."""
        return len(self._ready) + sum(map(len, self._held.values()))

    def add(self, part: Part) -> None:
        """Another part."""
        if part.domain is None:
            self._ready.append(part)
        elif part.domain in self._held:
            self._held[part.domain].append(part)
        else:
            self._held[part.domain] = deque()
            self._ready.append(part)

    def take(self) -> Part:
        """The next one, which is out until it is put down. Raises IndexError."""
        return self._ready.popleft()

    def put_down(self, part: Part) -> None:
        """It is not worked on any more: the next one of its domain may be handed out."""
        if part.domain is None:
            return
        held = self._held[part.domain]
        if held:
            self._ready.appendleft(held.popleft())
        else:
            del self._held[part.domain]
