"""Opens the download stage for a test, and shows what came of one URL.

A scripted server would have to answer for /robots.txt as well; only the tests that are about it let it be asked for.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from batchproc.download.connection import Deadline
from batchproc.download.fetch import Download, DownloadWork
from batchproc.errors import Code, StageError
from batchproc.model import Fetch, Item, Source

Open = Callable[..., DownloadWork]


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens a worker that may visit loopback; it is closed with the test."""
    with ExitStack() as stack:

        def open_work(**settings: Any) -> DownloadWork:
            stage = Download(**{"allow_addresses": ("127.0.0.0/8",), "honour_robots": False, **settings})
            return stack.enter_context(closing(stage.open()))

        yield open_work


@contextmanager
def quick(code: Code) -> Iterator[None]:
    """Only the wait that ends with this code is short: what comes before it may take as long as it does."""
    after = Deadline.after
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Deadline, "after", lambda seconds, of: after(0.05 if of is code else seconds, of))
        yield


def item(url: str, **fetch: Any) -> Item[Fetch]:
    """An item whose redirects are followed wherever they lead."""
    value = Fetch(**{"hands_over": False, **fetch})
    return Item(source=Source(index=0, line=1, url=url, key=bytes(16)), value=value)


class Counts:
    """A stopwatch that keeps what it is told."""

    def __init__(self) -> None:
        self.parts: list[str] = []
        self.counts: Counter[str] = Counter()

    def __call__(self, part: str) -> None:
        self.parts.append(part)

    def watch_gil(self, part: str) -> None:
        """Nobody asks."""

    def long_wait(self, whom: str) -> None:
        """Nobody goes on in its place."""

    def long_wait_over(self) -> None:
        """Nobody went on in its place."""

    def count(self, what: str) -> None:
        self.counts[what.split(" ")[0]] += 1


def fetch(work: DownloadWork, url: str, **wanted: Any) -> Any:
    return work(item(url, **wanted), Counts())


def failure(work: DownloadWork, url: str, **wanted: Any) -> StageError:
    with pytest.raises(StageError) as caught:
        fetch(work, url, **wanted)
    return caught.value
