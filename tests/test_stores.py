"""Objects in a store: written whole, changed only as known; and what is said of a store that does not answer."""

import sys
from hashlib import sha256
from pathlib import Path

import pytest

from batchproc.errors import StoreError, UsageError
from batchproc.stores import TRIES, Bucket
from tests.object_store import StoreServer, store

pytest.importorskip("obstore", reason="the extra [cloud] is not installed")

pytestmark = pytest.mark.extra

__all__ = ["store"]
ADDRESS = "s3://bkt/job"


@pytest.fixture
def pauses() -> list[float]:
    return []


@pytest.fixture
def bucket(store: StoreServer, pauses: list[float]) -> Bucket:
    return Bucket(ADDRESS, pause=pauses.append)


def test_an_object_is_read_as_it_was_written(bucket: Bucket, store: StoreServer, tmp_path: Path) -> None:
    (tmp_path / "shard").write_bytes(b"from a file")
    bucket.write("a", b"bytes")
    bucket.write("b", tmp_path / "shard")

    assert {"job/a": b"bytes", "job/b": b"from a file"} == store.objects
    read = bucket.read("a")
    assert read is not None
    assert b"bytes" == read[0]
    assert read[1] == bucket.version("a")
    assert bucket.version("b") == bucket.download("b", tmp_path / "copy")
    assert b"from a file" == (tmp_path / "copy").read_bytes()


def test_what_is_not_there_is_none_and_may_be_removed(bucket: Bucket, tmp_path: Path) -> None:
    assert bucket.read("a") is None
    assert bucket.version("a") is None
    assert bucket.download("a", tmp_path / "copy") is None
    bucket.delete("a")


def test_a_replacement_needs_the_state_that_was_read(bucket: Bucket) -> None:
    assert bucket.replace("manifest", b"1", None)
    assert not bucket.replace("manifest", b"2", None)
    first = bucket.read("manifest")
    assert first is not None
    assert bucket.replace("manifest", b"2", first[1])
    assert not bucket.replace("manifest", b"3", first[1])
    assert b"2" == (bucket.read("manifest") or (b"", None))[0]


@pytest.mark.parametrize("fault", ["503", "500", "409", "lost"])
def test_what_may_pass_is_asked_again_after_a_pause(
    bucket: Bucket, store: StoreServer, pauses: list[float], fault: str
) -> None:
    store.faults = [fault] * 3

    bucket.write("a", b"x")

    assert {"job/a": b"x"} == store.objects
    assert 3 == len(pauses)
    assert all(0 <= pause <= 30 for pause in pauses)


@pytest.mark.parametrize("known", [False, True], ids=["create", "replace"])
def test_a_conditional_write_whose_answer_was_lost_has_won(bucket: Bucket, store: StoreServer, known: bool) -> None:
    """The repetition is refused, as the first request was done."""
    version = None
    if known:
        bucket.write("manifest", b"0")
        version = (bucket.read("manifest") or (b"", None))[1]
    store.faults = ["lost"]

    assert bucket.replace("manifest", b"ours", version)
    assert b"ours" == store.objects["job/manifest"]


def test_a_store_that_does_not_come_back_is_given_up(bucket: Bucket, store: StoreServer, pauses: list[float]) -> None:
    store.faults = ["503"] * 100

    with pytest.raises(StoreError, match=r"s3://bkt/job/a: cannot be written: .*503"):
        bucket.write("a", b"x")

    assert TRIES == len(store.requests)
    assert TRIES - 1 == len(pauses)


def test_a_large_object_is_read_in_parts_each_asked_again_by_itself(
    bucket: Bucket, store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.stores.PART_BYTES", 4)
    store.objects["job/a"] = b"0123456789"
    store.faults = ["", "", "503", "lost"]  # the look, and the parts

    assert bucket.version("a") == bucket.download("a", tmp_path / "copy")
    assert b"0123456789" == (tmp_path / "copy").read_bytes()
    assert ["HEAD job/a"] * 2 + ["GET job/a"] * 5 == store.requests
    assert sha256(b"0123456789").digest() == bucket.digest("a", 10)
    assert bucket.digest("a", 9) is None


def test_an_object_that_changes_while_it_is_read_is_told(
    bucket: Bucket, store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.stores.PART_BYTES", 4)
    store.objects["job/a"] = b"0123456789"
    store.faults = ["", "", "changed"]

    with pytest.raises(StoreError, match=r"s3://bkt/job/a: changed while it was read"):
        bucket.download("a", tmp_path / "copy")


def test_a_store_that_does_not_answer_is_given_up(
    store: StoreServer, pauses: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchproc.stores.REQUEST_SECONDS", 0.05)
    store.is_silent = True

    with pytest.raises(StoreError, match=r"s3://bkt/job/a: cannot be written: .*(timed out|error sending)"):
        Bucket(ADDRESS, pause=pauses.append).write("a", b"x")

    assert TRIES - 1 == len(pauses)


def test_a_refusal_is_not_asked_again(bucket: Bucket, store: StoreServer) -> None:
    store.faults = ["403"]

    with pytest.raises(StoreError, match="may not be written; are the credentials there"):
        bucket.write("a", b"x")

    assert 1 == len(store.requests)


def test_a_bucket_that_is_not_there_is_told(bucket: Bucket, store: StoreServer) -> None:
    store.faults = ["404"]

    with pytest.raises(StoreError, match="the bucket is not there"):
        bucket.write("a", b"x")


def test_keys_come_from_the_files_of_aws_where_the_environment_has_none(
    store: StoreServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws" / "credentials").write_text("[night]\naws_access_key_id = i\naws_secret_access_key = k%\n")
    (tmp_path / ".aws" / "config").write_text(f"[profile night]\nregion = eu-west-1\nendpoint_url = {store.endpoint}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_ENDPOINT_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("AWS_PROFILE", "night")

    Bucket(ADDRESS).write("a", b"x")

    assert {"job/a": b"x"} == store.objects


def test_without_obstore_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore.store", None)

    with pytest.raises(UsageError, match=r"pip install 'batchproc\[cloud\]'"):
        Bucket(ADDRESS)
