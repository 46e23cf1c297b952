"""One run per job, whatever happens to the holder."""

import fcntl
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from batchproc import lock as lock_module
from batchproc.errors import ExitCode, LockHeldError, UsageError
from batchproc.lock import RunLock, find_holder, read_last_holder

HOLD = """
import sys
from pathlib import Path
from batchproc.lock import RunLock, find_holder
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
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "close_fds": False}
        with RunLock(path), subprocess.Popen(["cat"], **pipes) as child:
            child.stdin.write(b"x\n")
            child.stdin.flush()
            assert b"x\n" == child.stdout.readline()  # it is cat by now: what is closed on exec is closed
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


def test_a_run_that_waits_gets_the_lock_when_its_holder_ends(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    told: list[str] = []
    with hold(path) as holder:

        def sleep(seconds: float) -> None:
            holder.stdin.close()
            holder.wait(10)

        with RunLock(path, wait_seconds=60, notify=told.append, sleep=sleep):
            assert f'"pid": {os.getpid()}' in path.read_text()

    assert 1 == len(told)
    assert f"waiting up to 60 s for another run of this job (pid {holder.pid}, " in told[0]


def test_a_run_waits_no_longer_than_it_was_told(tmp_path: Path) -> None:
    slept: list[float] = []
    with RunLock(tmp_path / "lock"), pytest.raises(LockHeldError, match=r"holds the lock after 1\.2 s \(pid"):
        RunLock(tmp_path / "lock", wait_seconds=1.2, sleep=slept.append).__enter__()

    assert 1.2 == pytest.approx(sum(slept))


def test_an_interrupted_wait_leaves_no_descriptor_behind(tmp_path: Path) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with RunLock(tmp_path / "lock"):
        before = len(os.listdir("/proc/self/fd"))
        with pytest.raises(KeyboardInterrupt):
            RunLock(tmp_path / "lock", wait_seconds=1, sleep=interrupt).__enter__()

        assert before == len(os.listdir("/proc/self/fd"))


def test_the_holder_is_found_by_trying_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with hold(path) as holder:
        found = find_holder(path)
        holder.stdin.close()
        holder.wait(10)

    assert (holder.pid, "20") == (found.pid, found.started[:2])
    assert find_holder(path) is None


def test_whoever_looks_for_the_holder_turns_no_run_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "lock"
    looking = os.open(path, os.O_RDONLY | os.O_CREAT)
    fcntl.flock(looking, fcntl.LOCK_SH)  # as `find_holder` does for a moment
    monkeypatch.setattr(lock_module.time, "sleep", lambda seconds: os.close(looking))

    with RunLock(path):
        assert os.getpid() == find_holder(path).pid


@pytest.mark.parametrize("text", ["", "garbage", '{"pid": "x"}', "[1]"], ids=repr)
def test_a_lock_file_that_says_nothing_has_no_holder(tmp_path: Path, text: str) -> None:
    (tmp_path / "lock").write_text(text)

    assert find_holder(tmp_path / "lock") is None
    assert find_holder(tmp_path / "none") is None


def test_a_living_process_that_does_not_hold_the_lock_is_no_holder(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f'{{"pid": {os.getpid()}, "started": "long ago"}}')

    assert find_holder(tmp_path / "lock") is None


def test_the_last_holder_is_known_after_his_end(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as holder:
        holder.kill()
        holder.wait()

    last = read_last_holder(tmp_path / "lock")

    assert last is not None
    assert (holder.pid, None) == (last.pid, find_holder(tmp_path / "lock"))
    assert read_last_holder(tmp_path / "no lock") is None


def test_a_disk_without_room_for_the_holders_name_does_not_keep_it_from_running(tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with RunLock(tmp_path / "lock"), pytest.raises(LockHeldError, match="holds the lock\\. Wait"):
            RunLock(tmp_path / "lock").__enter__()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_named_pipe_is_no_lock_and_nobody_waits_for_its_other_end(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    os.mkfifo(path)

    assert find_holder(path) is None
    assert read_last_holder(path) is None
    with pytest.raises(UsageError, match="lock: this is no file, where the lock belongs"), RunLock(path):
        pass
