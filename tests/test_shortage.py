"""Too little memory, too few files, no more threads, sick disks: said in words, with the right exit code."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.errors import ExitCode
from batchproc.shortage import find_shortage
from tests.jobs import MakeJob

ROOT = Path(__file__).parents[1]


def system(number: int, path: str | None = None) -> OSError:
    return OSError(number, os.strerror(number), path)


@pytest.mark.parametrize(
    ("error", "words", "code"),
    [
        (MemoryError(), "not enough memory", 1),
        (system(errno.ENOMEM), "not enough memory", 1),
        (ImportError("libx.so: failed to map segment from shared object"), "not enough memory", 1),
        (system(errno.EMFILE), "too many open files for one process: the limit is", 1),
        (system(errno.ENFILE), "too many open files on this machine", 1),
        (RuntimeError("can't start new thread"), "no further thread or process can be started", 1),
        (system(errno.EAGAIN), "no further thread or process can be started", 1),
        (system(errno.EIO, "/data/x"), "/data/x: Input/output error; what is unfinished stays pending", 5),
        (system(errno.EROFS, "/data/x"), "/data/x: Read-only file system", 5),
        (system(errno.ENOENT, "/out/.tmp/x"), "/out/.tmp/x: No such file or directory", 5),
    ],
)
def test_what_the_machine_has_not_enough_of_is_told(error: Exception, words: str, code: int) -> None:
    shortage = find_shortage(error, Path("/out"))

    assert str(shortage).startswith(words)
    assert code == (shortage.exit_code if shortage else None)


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), ImportError("no module"), KeyError("x"), system(errno.ENOENT, "/else")]
)
def test_what_is_a_bug_stays_one(error: Exception) -> None:
    assert find_shortage(error, Path("/out")) is None


@pytest.mark.parametrize(
    ("limit", "code", "words"),
    [
        ("-n 20", ExitCode.USAGE, "the limit of open files is 20 (ulimit -n), and a run needs 40 at least; raise it."),
        ("-v 140000", ExitCode.INTERNAL, "the limit is 140,000 (ulimit -v), raise it"),
    ],
)
def test_a_limit_of_the_shell_is_named(make_job: MakeJob, limit: str, code: int, words: str) -> None:
    config = make_job(images=2)
    program = [sys.executable, "-P", "-m", "batchproc", "run", str(config)]

    done = subprocess.run(
        ["/bin/sh", "-c", f'ulimit {limit} && exec "$@"', "sh", *program], cwd=ROOT, capture_output=True, text=True,
        timeout=120,
    )  # fmt: skip

    assert code == done.returncode, done.stderr
    assert words in done.stderr
    assert "Traceback" not in done.stderr


LIMITS = "from batchproc.shortage import file_limit as now, raise_file_limit; print(now(), raise_file_limit(), now())"


def limits(soft: int, hard: int) -> list[int]:
    script = f'ulimit -Sn {soft}; ulimit -Hn {hard}; exec "$@"'
    command = ["bash", "-c", script, "bash", sys.executable, "-c", LIMITS]
    return [int(word) for word in subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()]


def test_the_soft_limit_is_raised_to_the_hard_one() -> None:
    assert [64, 200, 200] == limits(64, 200)


def test_a_limit_that_is_as_high_as_it_may_be_stays() -> None:
    assert [200, 200, 200] == limits(200, 200)
