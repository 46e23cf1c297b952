"""The folder where machines meet: whole files, names that are taken once, and moves between file systems."""

import errno
from pathlib import Path

import pytest

from batchproc.cluster.shared_store import FolderStore, move
from batchproc.errors import DiskError


def test_of_two_that_create_one_object_the_first_wins(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)

    assert [True, False, True] == [store.create("a/b", content) for content in (b"one", b"two", b"one")]
    assert b"one" == store.get("a/b")
    assert ["b"] == [path.name for path in (tmp_path / "a").iterdir()]


def test_a_range_of_an_object(tmp_path: Path) -> None:
    store = FolderStore(tmp_path)
    store.replace("list", b"0123456789")

    assert b"345" == store.get_range("list", 3, 3)
    assert store.get("other") is None
    with pytest.raises(DiskError, match="other: cannot be read"):
        store.get_range("other", 0, 1)


@pytest.fixture
def two_file_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on nothing outside its own folder can be renamed into it."""
    replace = Path.replace

    def refuse(path: Path, target: Path) -> Path:
        if path.parent != Path(target).parent:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse)


@pytest.mark.usefixtures("two_file_systems")
def test_a_file_and_a_folder_move_to_another_file_system(tmp_path: Path) -> None:
    (tmp_path / "images/ab").mkdir(parents=True)
    (tmp_path / "images/ab/1.jpg").write_bytes(b"1")
    (tmp_path / "rows").write_bytes(b"rows")

    move(tmp_path / "images", tmp_path / "other/images")
    move(tmp_path / "rows", tmp_path / "other/rows")

    assert b"1" == (tmp_path / "other/images/ab/1.jpg").read_bytes()
    assert b"rows" == (tmp_path / "other/rows").read_bytes()
    assert ["other"] == [path.name for path in tmp_path.iterdir()]
    assert ["images", "rows"] == sorted(path.name for path in (tmp_path / "other").iterdir())
