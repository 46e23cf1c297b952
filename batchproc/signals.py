"""The signals sent to this program, from its first instant to its last, and what it says of itself when asked.

SIGUSR1 asks what is being done: a sentence on stderr. SIGUSR2 asks where every thread stands. SIGINT, SIGTERM
and SIGHUP raise `Stopped` in the main thread, and a second one leaves at once, unless somebody handles them
(`handled_by`).

A Python signal handler runs in the main thread alone, and neither while that is in C code nor so that it ends a wait.
So the interpreter also writes each signal's number to a socket (`signal.set_wakeup_fd`), and a thread, the listener,
reads it there.

Shared and mutable: `_now`, changed by the main thread alone. The listener reads it.
"""

import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Generic, TypeAlias, TypeVar

from msgspec import Struct, field

T = TypeVar("T")
Handler: TypeAlias = Callable[[int, FrameType | None], None]

EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 143}
QUESTIONS = (signal.SIGUSR1, signal.SIGUSR2)  # they ask and never end anything
STOP_SECONDS = 5.0


class _Now(Struct):
    """What the program is about."""

    show: Callable[[str], None]  # has an answer shown
    doing: list[Callable[[], str]] = field(default_factory=list)  # the innermost last
    handlers: dict[int, Callable[[int], None]] = field(default_factory=dict)
    exit_code: int | None = None  # of work that is done, whatever comes
    is_stopping: bool = False  # `Stopped` was raised
    listened_to: socket.socket | None = None  # the listener is at work, and reads what is written here
    listener: threading.Thread | None = None


class Stopped(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP, raised in the main thread. `during`: what was being done then."""

    def __init__(self, exit_code: int, during: str) -> None:
        super().__init__(f"stopped while {during}")
        self.exit_code = exit_code
        self.during = during


class Counted(Generic[T]):
    """Passes on what it is given, and counts it: for a sentence on how far something is."""

    def __init__(self, items: Iterable[T]) -> None:
        self.number = 0
        self._items = items

    def __iter__(self) -> Iterator[T]:
        for item in self._items:
            self.number += 1
            yield item


def current() -> str:
    """What is being done, in plain words."""
    return _now.doing[-1]() if _now.doing else "starting"


@contextmanager
def doing(what: str | Callable[[], str]) -> Iterator[None]:
    """Says what is done inside the block. A callable is called by the listener too: it only reads."""
    _now.doing.append((lambda: what) if isinstance(what, str) else what)
    try:
        yield
    finally:
        _now.doing.pop()


@contextmanager
def shown_by(show: Callable[[str], None]) -> Iterator[None]:
    """Has answers shown by another than `print`, which would tear a bar. Called by the listener."""
    before, _now.show = _now.show, show
    try:
        yield
    finally:
        _now.show = before


def settle(exit_code: int) -> None:
    """The work is done: whatever comes, the program ends with this code."""
    _now.exit_code = exit_code


def listen() -> Callable[[], None]:
    """Starts to listen; returns what stops it, for whoever is not the whole program. Main thread."""
    descriptor = _start_listener()
    before = {number: signal.signal(number, handler) for number, handler in _wanted(_HANDLERS).items()}
    signal.pthread_sigmask(signal.SIG_UNBLOCK, QUESTIONS)  # a parent that withholds them from its children
    _now.is_stopping, _now.exit_code = False, None

    def stop() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)
        _end_listener(descriptor)

    return stop


@contextmanager
def unheard() -> Iterator[None]:
    """Inside the block there is no listener: for a fork, which no other thread may disturb. Short; main thread.

    What comes meanwhile is heard afterwards.
    """
    if _now.listened_to is None:
        yield
        return
    with withheld_from_children(*EXIT_CODES):
        _end_listener(-1)
        try:
            yield
        finally:
            _start_listener()


def _start_listener() -> int:
    """Returns the wakeup descriptor that there was."""
    reader, writer = socket.socketpair()
    writer.setblocking(False)
    descriptor = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    _now.listened_to = writer
    _now.listener = threading.Thread(target=_listen, args=(reader,), name="signals", daemon=True)
    _now.listener.start()
    return descriptor


def _end_listener(descriptor: int) -> None:
    signal.set_wakeup_fd(descriptor)
    if _now.listened_to is not None and _now.listener is not None:
        _now.listened_to.close()  # and that ends the thread
        _now.listener.join(STOP_SECONDS)
    _now.listened_to = _now.listener = None


@contextmanager
def listening() -> Iterator[None]:
    """Listens for the length of the block. Inside another one, and outside the main thread, it changes nothing."""
    if _now.listened_to is not None or threading.current_thread() is not threading.main_thread():
        yield
        return
    stop = listen()
    try:
        yield
    finally:
        stop()


@contextmanager
def handled_by(handle: Callable[[int], None]) -> Iterator[None]:
    """Inside the block the signals that end a program raise nothing: the listener calls `handle` with their number.

    Those that are ignored stay so, as SIGHUP under nohup. Outside the main thread nothing changes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with listening():
        wanted = _wanted(dict.fromkeys(EXIT_CODES, _do_nothing))
        handlers, _now.handlers = _now.handlers, dict.fromkeys(wanted, handle)
        before = {number: signal.signal(number, handler) for number, handler in wanted.items()}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _now.handlers = handlers


@contextmanager
def withheld_from_children(*more: int) -> Iterator[None]:
    """A process that is started inside the block never gets the questions, nor `more`, unless it unblocks them itself.

    They are sent to whole groups, and to all of a unit by `systemctl kill`: a helper would die of them.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [*QUESTIONS, *more])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def ignore_all() -> None:
    """The end: nothing that comes now may disturb it, or be answered. Main thread."""
    for number in (*EXIT_CODES, *QUESTIONS):
        signal.signal(number, signal.SIG_IGN)


def raise_stopped(number: int, _frame: FrameType | None) -> None:
    """The handler of the signals that end the program, where nobody else handles them."""
    exit_code = EXIT_CODES[signal.Signals(number)] if _now.exit_code is None else _now.exit_code
    if _now.is_stopping:
        os._exit(exit_code)
    _now.is_stopping = True
    raise Stopped(exit_code, during=current())


def _do_nothing(_number: int, _frame: FrameType | None) -> None:
    """Only a Python-level handler makes the interpreter write to the wakeup descriptor."""


_HANDLERS: dict[int, Handler] = dict.fromkeys(EXIT_CODES, raise_stopped) | dict.fromkeys(QUESTIONS, _do_nothing)


def _wanted(handlers: Mapping[int, Handler]) -> dict[int, Handler]:
    """Without those of signals that are ignored."""
    return {
        number: handler
        for number, handler in handlers.items()
        if number in QUESTIONS or signal.getsignal(number) is not signal.SIG_IGN
    }


def _listen(reader: socket.socket) -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, [*EXIT_CODES, *QUESTIONS])  # they come to the main thread, or wait for it
    with reader:
        while numbers := reader.recv(64):
            for number in numbers:
                if number in QUESTIONS:
                    _answer(number)
                elif handle := _now.handlers.get(number):
                    handle(number)


def _answer(number: int) -> None:
    with suppress(Exception):  # a describing callable reads what others change
        _now.show(current() if number == signal.SIGUSR1 else describe_threads())


def describe_threads() -> str:
    """Where every thread stands, the innermost call first. With the GIL held: a signal handler of faulthandler's reads
    frames that are just being changed, and has crashed on them."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    lines: list[str] = []
    for ident, top in sys._current_frames().items():
        lines.append(f"thread {names.get(ident, ident)}:")
        frame: FrameType | None = top
        while frame is not None:
            code = frame.f_code
            lines.append(f'  File "{code.co_filename}", line {frame.f_lineno}, in {code.co_name}')
            frame = frame.f_back
    return "\n".join(lines)


def _print(text: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


_now = _Now(show=_print)
