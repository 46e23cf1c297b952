"""A reader sees the old file or the new one, never a half."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchproc.sink import write_atomically
from batchproc.sink.atomic import point_atomically, sweep_temporary


def test_a_file_is_written_whole(tmp_path: Path) -> None:
    path = tmp_path / "run.json"

    write_atomically(path, [b"one ", b"two"])

    assert b"one two" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_an_error_in_the_middle_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b"old")

    def break_off() -> Iterator[bytes]:
        yield b"new"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        write_atomically(path, break_off())
    assert b"old" == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


def test_the_old_file_stays_readable_while_the_new_one_is_written(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_bytes(b"old")
    seen = []

    def look() -> Iterator[bytes]:
        yield b"new" * 200_000
        seen.append(path.read_bytes())

    write_atomically(path, look())
    assert [b"old"] == seen


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600)])
def test_the_mode_is_what_the_umask_says(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_atomically(tmp_path / "a", [b"x"])
    finally:
        os.umask(before)

    assert mode == stat.S_IMODE((tmp_path / "a").stat().st_mode)


def test_a_link_at_the_final_name_is_replaced_and_its_target_spared(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"precious")
    (tmp_path / "a").symlink_to("precious")
    write_atomically(tmp_path / "a", [b"new"])

    assert not (tmp_path / "a").is_symlink()
    assert b"precious" == (tmp_path / "precious").read_bytes()


def test_a_link_moves_to_its_new_target(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        point_atomically(tmp_path / "latest", tmp_path / "runs" / name)

    assert "runs/two" == str((tmp_path / "latest").readlink())
    assert ["latest", "runs"] == sorted(path.name for path in tmp_path.iterdir())


def test_a_link_that_cannot_be_made_names_itself_and_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()

    with pytest.raises(IsADirectoryError) as caught:
        point_atomically(tmp_path / "latest", tmp_path / "runs" / "one")

    assert str(tmp_path / "latest") == caught.value.filename
    assert [tmp_path / "latest"] == list(tmp_path.iterdir())


def test_the_sweep_takes_what_dead_processes_left_and_nothing_else(tmp_path: Path) -> None:
    dead = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(dead, 0)
    for name in (f".metadata.jsonl.{dead}.tmp", f".run.json.{os.getpid()}.tmp", ".notes.tmp", "metadata.jsonl"):
        (tmp_path / name).write_bytes(b"x")
    sweep_temporary(tmp_path)

    left = sorted(path.name for path in tmp_path.iterdir())
    assert [".notes.tmp", f".run.json.{os.getpid()}.tmp", "metadata.jsonl"] == left


def test_the_sweep_before_the_first_write_takes_what_an_earlier_process_left_under_this_pid(tmp_path: Path) -> None:
    (tmp_path / f".run.json.{os.getpid()}.tmp").write_bytes(b"x")
    (tmp_path / f".report.html.{os.getppid()}.tmp").write_bytes(b"x")

    sweep_temporary(tmp_path, own=True)

    assert [f".report.html.{os.getppid()}.tmp"] == [path.name for path in tmp_path.iterdir()]


def test_a_number_that_is_no_pid_is_nobody_alive(tmp_path: Path) -> None:
    (tmp_path / f".run.json.{10**30}.tmp").write_bytes(b"x")

    sweep_temporary(tmp_path)

    assert [] == list(tmp_path.iterdir())
