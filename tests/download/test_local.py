"""Files in place of replies: what is read, what stands for its validators, and what is never opened."""

import os
import socket
from pathlib import Path

import pytest

from batchproc.download import urls
from batchproc.errors import Retry, StageError
from batchproc.model import Moved
from batchproc.sources.finding import file_url

from .conftest import Open, fetch


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one file, `sub/a b.jpg`, and one beside it that is not to be read."""
    (tmp_path / "root/sub").mkdir(parents=True)
    (tmp_path / "root/sub/a b.jpg").write_bytes(b"content")
    (tmp_path / "secret").write_bytes(b"secret")
    return tmp_path / "root"


def url_of(path: Path) -> str:
    return file_url(path).removesuffix("/")


def error_of(opened: Open, root: Path, url: str, **settings: object) -> StageError:
    with pytest.raises(StageError) as caught:
        fetch(opened(local_roots=(str(root),), **settings), url)
    return caught.value


def test_a_file_is_read_with_what_tells_its_state(opened: Open, root: Path) -> None:
    os.utime(root / "sub/a b.jpg", (1_000_000_000, 1_000_000_000))
    url = url_of(root / "sub/a b.jpg")

    found = fetch(opened(local_roots=(str(root),)), url)

    assert (b"content", 200) == (found.content, found.reply.status_code)
    assert (url, "Sun, 09 Sep 2001 01:46:40 GMT") == (found.reply.final_url, found.reply.last_modified)


def test_only_a_changed_file_is_read_again(opened: Open, root: Path) -> None:
    path = root / "sub/a b.jpg"
    work = opened(local_roots=(str(root),))
    etag = fetch(work, url_of(path)).reply.etag

    unchanged = fetch(work, url_of(path), etag=etag)
    os.utime(path, (1, 1))
    changed = fetch(work, url_of(path), etag=etag)

    assert (b"", 304) == (unchanged.content, unchanged.reply.status_code)
    assert (b"content", 200) == (changed.content, changed.reply.status_code)


def test_without_a_root_no_file_is_read(opened: Open, root: Path) -> None:
    with pytest.raises(StageError) as caught:
        fetch(opened(), url_of(root / "sub/a b.jpg"))

    assert "policy.scheme" == caught.value.code


def test_a_redirect_to_a_file_is_refused_whatever_is_allowed(opened: Open, root: Path) -> None:
    moved = Moved(trail=(url_of(root / "sub/a b.jpg"),), spent_seconds=0.0)

    with pytest.raises(StageError) as followed:
        urls.follow(urls.parse("http://a.example/"), moved.trail[0])
    with pytest.raises(StageError) as handed_over:
        fetch(opened(local_roots=(str(root),)), "http://a.example/", moved=moved)

    assert ["policy.scheme"] * 2 == [followed.value.code, handed_over.value.code]


@pytest.mark.parametrize(
    "name", ["../secret", "..%2Fsecret", "link", "sub/up/secret", "away/secret", "loop", "%2E%2E/secret", "../root-2/x"]
)
def test_nothing_outside_the_root_is_read(opened: Open, root: Path, name: str) -> None:
    (root / "link").symlink_to("../secret")
    (root / "sub/up").symlink_to("../..")
    (root / "away").symlink_to(root.parent)
    (root / "loop").symlink_to("loop")
    root.with_name("root-2").mkdir()
    (root.with_name("root-2") / "x").touch()

    assert "file.outside" == error_of(opened, root, f"{file_url(root)}{name}").code


def test_a_link_within_the_root_is_followed_also_where_the_root_is_one(opened: Open, root: Path) -> None:
    (root / "link.jpg").symlink_to("sub/a b.jpg")
    root.with_name("mount").symlink_to(root)
    mount = root.with_name("mount")

    found = fetch(opened(local_roots=(str(mount),)), url_of(mount / "link.jpg"))

    assert b"content" == found.content


def test_a_link_that_takes_the_place_of_a_folder_is_not_followed(
    opened: Open, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work = opened(local_roots=(str(root),))
    (root / "sub").rename(root / "was")
    (root / "sub").symlink_to(root.parent)
    monkeypatch.setattr("os.path.realpath", lambda path: path)  # as it was a moment ago

    with pytest.raises(StageError) as caught:
        fetch(work, f"{file_url(root)}sub/secret")

    assert caught.value.code in ("file.outside", "file.missing")


def test_pipes_folders_and_sockets_are_not_opened_for_reading(opened: Open, root: Path) -> None:
    os.mkfifo(root / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        previous = Path.cwd()
        os.chdir(root)  # the name of a socket is short
        try:
            listener.bind("socket")
        finally:
            os.chdir(previous)

        codes = [error_of(opened, root, f"{file_url(root)}{name}").code for name in ("pipe", "sub", "socket")]

    assert ["file.kind"] * 3 == codes


def test_a_device_is_not_read(opened: Open) -> None:
    assert "file.kind" == error_of(opened, Path("/dev"), "file:///dev/zero").code


@pytest.mark.parametrize("name", ["gone.jpg", "sub/a b.jpg/x", "x" * 300])
def test_a_missing_file_is_looked_for_again_by_the_next_run(opened: Open, root: Path, name: str) -> None:
    error = error_of(opened, root, url_of(root / name))

    assert ("file.missing", Retry.NEXT_RUN) == (error.code, error.retry)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_unreadable(opened: Open, root: Path) -> None:
    (root / "sub/a b.jpg").chmod(0)

    assert "file.unreadable" == error_of(opened, root, url_of(root / "sub/a b.jpg")).code


def test_what_the_disk_refuses_is_unreadable(opened: Open, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("batchproc.download.local.os.read", fail)

    error = error_of(opened, root, url_of(root / "sub/a b.jpg"))

    assert ("file.unreadable", Retry.NEXT_RUN) == (error.code, error.retry)


def test_no_more_than_max_bytes_is_read(opened: Open, root: Path) -> None:
    path = root / "large.jpg"
    path.write_bytes(bytes(1001))

    assert "too_large" == error_of(opened, root, url_of(path), max_bytes=1000).code
    path.write_bytes(bytes(1000))
    assert 1000 == len(fetch(opened(local_roots=(str(root),), max_bytes=1000), url_of(path)).content)


def test_a_file_that_grows_while_it_is_read_is_too_large(
    opened: Open, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pieces = iter([bytes(900), bytes(900)])
    monkeypatch.setattr("batchproc.download.local.os.read", lambda *_: next(pieces))

    assert "too_large" == error_of(opened, root, url_of(root / "sub/a b.jpg"), max_bytes=1000).code


@pytest.mark.parametrize("url", ["file:///a?b", "file:///a#b", "file://host/a", "file:a", "file:///%00"])
def test_what_is_no_url_of_a_file_is_refused(opened: Open, root: Path, url: str) -> None:
    assert "input.url" == error_of(opened, root, url).code
