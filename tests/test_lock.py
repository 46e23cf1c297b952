"""One run per job, whatever happens to the holder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc.errors import ExitCode, LockHeldError, UsageError
from batchproc.lock import RunLock

HOLD = """
import sys
from pathlib import Path
from batchproc.lock import RunLock
with RunLock(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path) -> subprocess.Popen[str]:
    """Another process that has the lock."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert "held\n" == holder.stdout.readline()
    return holder


def test_a_second_run_is_told_who_holds_the_lock(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as holder:
        message = rf"\(pid {holder.pid}, started 20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ\)"
        with pytest.raises(LockHeldError, match=message) as caught:
            RunLock(tmp_path / "lock").__enter__()
        holder.stdin.close()

    assert ExitCode.LOCKED == caught.value.exit_code


def test_a_killed_holder_gives_the_lock_back(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path) as holder:
        holder.send_signal(signal.SIGKILL)
        holder.wait(10)

        with RunLock(path):
            assert f'"pid": {os.getpid()}' in path.read_text()


def test_the_end_of_the_block_gives_the_lock_back(tmp_path: Path) -> None:
    with RunLock(tmp_path / "lock"), pytest.raises(LockHeldError):
        RunLock(tmp_path / "lock").__enter__()

    with RunLock(tmp_path / "lock"):
        pass


def test_a_child_does_not_inherit_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as before:
        with RunLock(path), subprocess.Popen(["cat"], stdin=subprocess.PIPE, close_fds=False) as child:
            held = [os.readlink(entry) for entry in Path(f"/proc/{child.pid}/fd").iterdir()]
            child.stdin.close()
        before.stdin.close()

    assert str(path) not in held


def test_the_text_in_the_file_is_never_believed(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    path.write_text('{"pid": 1, "started": "long ago"}')

    with RunLock(path):
        path.write_text("garbage")
        with pytest.raises(LockHeldError, match=r"another run of this job holds the lock\. Wait"):
            RunLock(path).__enter__()


def test_a_link_in_the_place_of_the_lock_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to("elsewhere")

    with pytest.raises(UsageError, match="cannot be opened"):
        RunLock(tmp_path / "lock").__enter__()
    assert not (tmp_path / "elsewhere").exists()
