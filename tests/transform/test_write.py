"""The temporary file: whole or not there, never through a link, every error with its code."""

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from batchproc.errors import Code, StageError
from batchproc.transform.encode import write_temporary


def test_the_name_holds_key_and_process_and_is_never_used_twice(tmp_path: Path) -> None:
    paths = [write_temporary(b"x", folder=str(tmp_path), key_hex="ab", durable=False) for _ in range(3)]

    assert 3 == len(set(paths))
    assert all(Path(path).name.startswith(f"ab.{os.getpid()}.") and path.endswith(".part") for path in paths)


def test_short_writes_are_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: write(descriptor, data[:3]))

    path = write_temporary(b"0123456789", folder=str(tmp_path), key_hex="ab", durable=True)

    assert b"0123456789" == Path(path).read_bytes()


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.IO_NOSPACE),
        (errno.EDQUOT, Code.IO_NOSPACE),
        (errno.EACCES, Code.IO_PERM),
        (errno.EPERM, Code.IO_PERM),
        (errno.EIO, Code.IO_OTHER),
        (errno.EROFS, Code.IO_OTHER),
    ],
    ids=lambda value: errno.errorcode[value] if isinstance(value, int) else str(value),
)
@pytest.mark.parametrize("call", ["open", "write", "fsync", "close"])
def test_each_error_has_its_code_and_leaves_no_file(
    call: str, number: int, code: Code, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real_close = os.close

    def fail(*arguments: Any, **_options: Any) -> int:
        if call == "close":
            real_close(*arguments)
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StageError) as caught:
            write_temporary(b"x", folder=str(tmp_path), key_hex="ab", durable=True)

    assert code == caught.value.code
    assert errno.errorcode[number] in caught.value.message
    assert [] == list(tmp_path.iterdir())


def test_fsync_happens_only_when_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[int] = []
    monkeypatch.setattr(os, "fsync", synced.append)

    write_temporary(b"x", folder=str(tmp_path), key_hex="ab", durable=False)
    assert [] == synced

    write_temporary(b"x", folder=str(tmp_path), key_hex="ab", durable=True)
    assert 1 == len(synced)
