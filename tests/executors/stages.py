"""Small stages for the executors' tests: importable by name in a worker process."""

import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from batchproc.errors import Reject, Retry, StageError
from batchproc.model import Fetch, Item, Outcome, Reply, Source, SourceImage
from batchproc.protocols import Lap


def source(number: int) -> Source:
    return Source(index=number, line=number + 1, url=f"http://example.org/{number}", key=number.to_bytes(16, "big"))


def items(values: Iterable[Any]) -> Iterator[Outcome]:
    for number, value in enumerate(values):
        yield Item(source=source(number), value=value)


@dataclass(frozen=True)
class Deed:
    """A stage whose work is the method named by each item's value, or a doubling."""

    name: str = "deed"
    preload: tuple[str, ...] = ()
    marker: str = ""  # a file that a deed may leave to know its second try

    def open(self) -> "Deed":
        return self

    def close(self) -> None:
        pass

    def abort(self) -> None:
        pass

    def __call__(self, item: Item[Any], lap: Lap) -> Any:
        value = item.value
        lap("first")
        if isinstance(value, str):
            return getattr(self, value)()
        if isinstance(value, SourceImage):
            return replace(value, content=value.content[::-1])
        return value * 2

    def ask_a_child(self) -> Any:
        code = "import os, signal; print(os.environ.get('PYTHONSAFEPATH'), signal.pthread_sigmask(0, []))"
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    def start_processes(self) -> Any:
        multiprocessing.current_process()._config["daemon"] = False  # type: ignore[attr-defined]  # as many do
        return [self.start_process(method) for method in ("spawn", "forkserver")]

    def start_process(self, method: str) -> int | None:
        process = multiprocessing.get_context(method).Process(target=os.getpid)  # type: ignore[attr-defined]
        process.start()
        process.join(20)
        return process.exitcode  # type: ignore[no-any-return]

    def fail(self) -> Any:
        raise StageError("http.404", "not found", hint="look", retry=Retry.NEVER)

    def reject(self) -> Any:
        raise Reject("too small", code="check.min_size")

    def bug(self) -> Any:
        raise KeyError("surprise")

    def leave(self) -> Any:
        sys.exit(3)

    def exit_zero(self) -> Any:
        os._exit(0)

    def segfault(self) -> Any:
        os.kill(os.getpid(), signal.SIGSEGV)

    def killed(self) -> Any:
        os.kill(os.getpid(), signal.SIGKILL)

    def hang_in_c(self) -> Any:
        """Holds the GIL for ages: no Python thread of the worker runs, no signal handler either."""
        return re.match(r"(a+)+$", "a" * 64 + "b")

    def unpicklable(self) -> Any:
        return threading.Lock()

    def crash_once(self) -> Any:
        if os.path.exists(self.marker):
            return "survived"
        with open(self.marker, "x"):
            os._exit(1)

    def pid(self) -> Any:
        return os.getpid()

    def shout(self) -> Any:
        print("on stdout")
        return None


@dataclass(frozen=True)
class CannotOpen(Deed):
    def open(self) -> "Deed":
        raise ImportError("no module named nothing")


@dataclass(frozen=True)
class DiesOnOpen(Deed):
    def open(self) -> "Deed":
        os._exit(7)


def original(number: int, size: int) -> SourceImage:
    return SourceImage(content=bytes([number % 256]) * (size - 1) + b"!", reply=Reply(status_code=200))


class Waits:
    """An upstream like a frontier: it ends only when it knows every outcome, and lets one item come back."""

    def __init__(self, count: int) -> None:
        self._waiting = [Item(source=source(number), value=number) for number in range(count)]
        self._unheard = count
        self._changed = threading.Condition()
        self.retried = False

    def __iter__(self) -> Iterator[Outcome]:
        while True:
            with self._changed:
                assert self._changed.wait_for(lambda: self._waiting or not self._unheard, 20), "held back"
                if not self._waiting:
                    return
                item = self._waiting.pop(0)
            yield item

    def on_outcome(self, outcome: Outcome) -> None:
        with self._changed:
            if not self.retried and self._unheard == 1:
                self.retried = True
                self._waiting.append(Item(source=outcome.source, value=Fetch(attempt=2).attempt))
            else:
                self._unheard -= 1
            self._changed.notify_all()
