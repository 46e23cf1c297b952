"""Writing to readers that left, sleep or are slow: nothing fails, nothing waits for ever, nothing else is lost."""

import errno
import io
import os
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from batchproc.lifecycle import _as_text, _Patient

HANGING = 0.01  # seconds: such a reader never reads


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A reader and a writer of one pipe; a test may close either."""
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def fill(writer: int) -> int:
    """Fills the pipe; returns with how many bytes."""
    filled = 0
    os.set_blocking(writer, False)
    try:
        while True:
            filled += os.write(writer, bytes(4096))
    except BlockingIOError:
        os.set_blocking(writer, True)
        return filled


def read_all(reader: int) -> bytes:
    read = b""
    while block := os.read(reader, 65536):
        read += block
    return read


def test_a_reader_that_does_not_read_is_waited_for_no_longer_than_that(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    filled = fill(writer)
    patient = _Patient(writer, HANGING)

    assert 100_000 == patient.write(bytes(100_000))

    assert patient.error is not None
    assert (errno.ETIMEDOUT, "nobody read it within 0.01 s") == (patient.error.errno, patient.error.strerror)
    os.close(writer)
    assert filled == len(read_all(reader))


def test_a_reader_that_comes_back_is_written_to_again(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    patient = _Patient(writer, HANGING)
    fill(writer)
    patient.write(b"lost")

    os.read(reader, 65536)
    patient.write(b"seen")

    assert os.read(reader, 1_000_000).endswith(b"seen")


@pytest.mark.parametrize("blocking", [True, False], ids=["blocking", "non-blocking"])
def test_a_slow_reader_gets_everything(pipe: tuple[int, int], blocking: bool) -> None:
    reader, writer = pipe
    os.set_blocking(writer, blocking)
    content = os.urandom(300_000)
    got: list[bytes] = []
    slow = threading.Thread(target=lambda: got.append(read_all(reader)))
    slow.start()

    with io.BufferedWriter(_Patient(writer, 60.0)) as file:
        file.write(content)
    os.close(writer)
    slow.join(10)

    assert [content] == got


def test_a_reader_that_left_is_an_error_for_later_and_no_exception(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.close(reader)
    patient = _Patient(writer, 60.0)

    assert 3 == patient.write(b"abc")

    assert isinstance(patient.error, BrokenPipeError)


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("utf-8", "747 µs × 1.2, 3–4 → ☃"),
        ("latin-1", "747 µs × 1.2, 3-4 -> \\u2603"),
        ("ascii", "747 us x 1.2, 3-4 -> \\u2603"),
    ],
)
def test_a_letter_that_a_stream_does_not_take_becomes_one_that_means_the_same(
    pipe: tuple[int, int], encoding: str, expected: str
) -> None:
    reader, writer = pipe
    stream = _as_text(_Patient(writer, HANGING), io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    stream.write("747 µs × 1.2, 3–4 → ☃")
    stream.flush()

    assert expected == os.read(reader, 1000).decode(encoding)
