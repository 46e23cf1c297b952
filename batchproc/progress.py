"""What the user sees while a run is under way: a bar on a terminal; on a pipe nothing, or a line every minute."""

import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from typing import Any, Self

from batchproc.pipeline.observer import Observer
from batchproc.signals import current

REFRESH_SECONDS = 0.2
LEFT = ("failed", "quarantined", "deferred", "rejected", "retried")  # what the bar shows besides


class Bar:
    """A tqdm bar with rate and failures, on stderr. Used by the main thread; `note` by any."""

    def __init__(self) -> None:
        self._bar: Any = None

    def begin(self, total: int) -> None:
        """Shows the bar. `total` is the number of items to work on."""
        from tqdm import tqdm

        self._bar = tqdm(
            total=total,
            unit=" img",
            file=sys.stderr,
            mininterval=REFRESH_SECONDS,
            dynamic_ncols=True,
            smoothing=0.1,
            disable=not sys.stderr.isatty(),
        )

    def advance(self, observer: Observer) -> None:
        """One outcome more was recorded."""
        bar = self._bar
        if bar.disable:
            return
        outcomes = observer.outcomes
        if left := {word: outcomes[word] for word in LEFT if outcomes[word]}:
            bar.set_postfix(left, refresh=False)
        try:
            bar.update(observer.processed - bar.n)
        except (OSError, ValueError):  # the terminal is gone
            bar.disable = True

    def end(self) -> None:
        """Removes nothing: the bar stays as it was last."""
        if self._bar is not None:
            with suppress(OSError, ValueError):
                self._bar.close()
            self._bar = None

    def note(self, text: str) -> None:
        """Shows a line for the user without tearing the bar."""
        with suppress(OSError, ValueError):  # a closed terminal takes no message, and must not end the work
            if self._bar is not None and not self._bar.disable:
                self._bar.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)

    def answer(self, text: str) -> None:
        """Shows what was asked for."""
        self.note(text)


BEAT_SECONDS = 60.0


class Heartbeat:
    """Shows every minute how far the run is, from a thread of its own, for the length of a `with` block.

    `wait` waits so many seconds, or until the end: then it returns True.
    """

    def __init__(self, show: Callable[[str], None], *, wait: Callable[[float], bool] | None = None) -> None:
        self._show = show
        self._ended = threading.Event()
        self._wait = wait or self._ended.wait
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(BEAT_SECONDS)

    def _beat(self) -> None:
        while not self._wait(BEAT_SECONDS):
            self._show(f"{datetime.now():%H:%M:%S} {current()}")


class Quiet:
    """Shows nothing but notes that the user has to see."""

    def begin(self, total: int) -> None:
        """Shows nothing."""

    def advance(self, observer: Observer) -> None:
        """Shows nothing."""

    def end(self) -> None:
        """Shows nothing."""

    def note(self, text: str) -> None:
        """Shows nothing: cron mails every line."""

    def answer(self, text: str) -> None:
        """Shows what was asked for: whoever asks is no cron."""
        with suppress(OSError, ValueError):
            print(text, file=sys.stderr, flush=True)
