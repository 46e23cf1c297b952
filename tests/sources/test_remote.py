"""Lists at an address: a copy that is made again when the list there has changed."""

from pathlib import Path

import pytest

from batchproc.errors import UsageError
from batchproc.sources import finding
from batchproc.sources.finding import fetch_list
from tests.object_store import StoreServer, store
from tests.web_list import CONTENT, WebServer, address, web

__all__ = ["store", "web"]


def test_a_list_of_the_web_is_fetched_again_only_when_it_has_changed(web: WebServer, tmp_path: Path) -> None:
    copy = fetch_list(address(web), tmp_path)
    assert ("new.txt", CONTENT) == (copy.name, copy.read_bytes())

    before = copy.stat()
    assert copy == fetch_list(address(web), tmp_path)
    assert before == copy.stat()

    web.content, web.etag = b"http://a.com/1\n", '"2"'
    assert web.content == fetch_list(address(web), tmp_path).read_bytes()
    assert [200, 304, 200] == web.replies


def test_a_copy_that_was_removed_is_fetched_again(web: WebServer, tmp_path: Path) -> None:
    fetch_list(address(web), tmp_path).unlink()

    assert CONTENT == fetch_list(address(web), tmp_path).read_bytes()


@pytest.mark.parametrize(
    ("status", "cut", "says"), [(404, 0, "answers 404"), (200, 3, "new.txt.*: ")], ids=["gone", "cut"]
)
def test_a_list_that_cannot_be_had_whole_is_refused_and_no_secret_told(
    web: WebServer, tmp_path: Path, status: int, cut: int, says: str
) -> None:
    web.status, web.cut = status, cut

    with pytest.raises(UsageError, match=says) as caught:
        fetch_list(address(web), tmp_path)

    assert "SECRET" not in str(caught.value)


def test_a_server_that_is_away_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be fetched: ConnectionError"):
        fetch_list("http://127.0.0.1:9/list.txt", tmp_path)


@pytest.mark.parametrize("what", ["head", "body"])
def test_a_list_that_trickles_is_given_up_and_its_server_left(
    web: WebServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    web.trickles = what
    monkeypatch.setattr(finding, "WHOLE_SECONDS", 0.3)

    with pytest.raises(UsageError, match=r"new\.txt.*: did not come within 0\.3 s: fetch it otherwise") as caught:
        fetch_list(address(web), tmp_path)

    assert "SECRET" not in str(caught.value)
    assert what == "head" or web.is_left.wait(10)


@pytest.mark.extra
def test_a_list_in_a_bucket_is_fetched_again_only_when_it_has_changed(store: StoreServer, tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra [cloud] is not installed")
    store.objects["lists/new.csv"] = CONTENT

    for content in (CONTENT, CONTENT, b"other\n"):
        store.objects["lists/new.csv"] = content
        copy = fetch_list("s3://bkt/lists/new.csv", tmp_path)
        assert ("new.csv", content) == (copy.name, copy.read_bytes())

    assert 2 == store.requests.count("GET lists/new.csv")


@pytest.mark.extra
def test_a_list_that_is_not_in_the_bucket_is_refused(store: StoreServer, tmp_path: Path) -> None:
    pytest.importorskip("obstore", reason="the extra [cloud] is not installed")

    with pytest.raises(UsageError, match=r"s3://bkt/no\.csv: no such list"):
        fetch_list("s3://bkt/no.csv", tmp_path)
