"""Tar files that everybody can read, and whose bytes depend on their members alone."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from batchproc.sink import shard_samples as tar

CONTENTS = {"a.jpg": b"x" * 512, "b.json": b"{}", "c.txt": b"", f"{'d' * 96}.png": b"y" * 513}


def packed() -> bytes:
    members = (
        tar.header(name, len(content)) + content + tar.padding(len(content)) for name, content in CONTENTS.items()
    )
    return b"".join(members) + tar.END


def test_the_standard_library_reads_what_was_written() -> None:
    with tarfile.open(fileobj=io.BytesIO(packed())) as file:
        found = {member.name: member for member in file}
        contents = {name: reader.read() for name in found if (reader := file.extractfile(name))}

    assert CONTENTS == contents
    assert {(0, 0, 0, 0o644, True)} == {(one.mtime, one.uid, one.gid, one.mode, one.isreg()) for one in found.values()}


def test_tar_reads_what_was_written(tmp_path: Path) -> None:
    path = tmp_path / "a.tar"
    path.write_bytes(packed())

    told = subprocess.run(["tar", "tf", path], capture_output=True, text=True, check=True)

    assert [*CONTENTS] == told.stdout.split()
    assert "" == told.stderr


def test_members_are_found_where_they_stand() -> None:
    content = packed()

    found = {
        member.name: content[member.start_bytes : member.start_bytes + member.size_bytes]
        for member in tar.members(io.BytesIO(content))
    }

    assert CONTENTS == found


@pytest.mark.parametrize("size", [0, 100, 512, 1024 + 300], ids=["empty", "in a header", "in a content", "in the end"])
def test_a_file_that_was_cut_is_no_tar_file_of_ours(size: int) -> None:
    with pytest.raises(ValueError, match="not a whole tar file"):
        list(tar.members(io.BytesIO(packed()[:size])))


def test_a_name_that_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        tar.header("n" * 101, 1)
