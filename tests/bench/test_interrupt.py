"""A signal ends a bench at once, but never loses a process that was just started."""

import os
import signal
from collections.abc import Callable

import pytest

from batchproc.bench.interrupt import BenchStopped, Interrupt
from batchproc.errors import ExitCode


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, ExitCode.INTERRUPTED), (signal.SIGTERM, ExitCode.TERMINATED)],
    ids=["SIGINT", "SIGTERM"],
)
def test_a_signal_raises_with_its_exit_code(number: signal.Signals, code: ExitCode) -> None:
    with pytest.raises(BenchStopped) as error, Interrupt():
        os.kill(os.getpid(), number)

    assert code == error.value.exit_code


def start_while_signalled(done: list[str]) -> None:
    with Interrupt() as interrupt, interrupt.held():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("started")


def clear_up_while_signalled(done: list[str]) -> None:
    with Interrupt():
        try:
            os.kill(os.getpid(), signal.SIGINT)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            done.append("cleared")


@pytest.mark.parametrize(
    ("act", "word"),
    [(start_while_signalled, "started"), (clear_up_while_signalled, "cleared")],
    ids=["inside a held block it waits for the end", "a second signal does not disturb the clearing up"],
)
def test_what_must_not_be_cut_is_not_cut(act: Callable[[list[str]], None], word: str) -> None:
    done: list[str] = []

    with pytest.raises(BenchStopped) as error:
        act(done)

    assert [word] == done
    assert ExitCode.INTERRUPTED == error.value.exit_code


def test_the_handlers_are_put_back() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]

    with Interrupt():
        assert before[0] != signal.getsignal(signal.SIGINT)

    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
