"""The data set in figures: counted exactly, once per change, without a secret."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from batchproc.ledger.data_set_counts import data_set, keep_data_set
from batchproc.ledger.schema import create_tables, touch
from batchproc.record.run_parts import DataSetRecord, HostImages, ImageClass, RejectedExample, RejectedItems


@pytest.fixture
def ledger() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        create_tables(connection)
        yield connection


def add(
    ledger: sqlite3.Connection, url: str, size: tuple[int, int] = (128, 128), original: tuple[int, int] = (512, 512)
) -> None:
    number = ledger.execute("SELECT count(*) FROM item").fetchone()[0]
    ledger.execute(
        "INSERT INTO item (key, line, url, state, due, size_bytes, width_px, height_px, original_width_px, "
        "original_height_px) VALUES (?, 1, ?, 'done', 0, 1000, ?, ?, ?, ?)",
        (number.to_bytes(16), url, *size, *original),
    )
    touch(ledger)


def reject(ledger: sqlite3.Connection, url: str, code: str, message: str) -> None:
    ledger.execute(
        "INSERT INTO item (key, line, url, state, due, code, message) VALUES (?, 1, ?, 'rejected', 0, ?, ?)",
        (url.encode(), url, code, message),
    )
    touch(ledger)


def test_an_empty_ledger_has_an_empty_data_set(ledger: sqlite3.Connection) -> None:
    assert DataSetRecord() == data_set(ledger)


@pytest.mark.parametrize(
    ("size", "side", "shape"),
    [
        ((1, 1), "under 128 px", "1:1"),
        ((127, 100), "under 128 px", "4:3"),
        ((128, 72), "128 to 255 px", "16:9"),
        ((171, 256), "256 to 383 px", "2:3"),
        ((8191, 5461), "4,096 to 8,191 px", "3:2"),
        ((8192, 8192), "8,192 px and more", "1:1"),
        ((60_000, 10), "8,192 px and more", "2:1 or wider"),
        ((10, 60_000), "8,192 px and more", "1:2 or narrower"),
        ((600, 800), "768 to 1,023 px", "3:4"),
        ((540, 960), "768 to 1,023 px", "9:16"),
    ],
)
def test_an_image_is_counted_by_its_longer_side_and_its_nearest_shape(
    ledger: sqlite3.Connection, size: tuple[int, int], side: str, shape: str
) -> None:
    add(ledger, "http://example.org/a.jpg", size=size, original=size)
    counted = data_set(ledger)

    assert (ImageClass(name=side, images=1, originals=1),) == counted.sides
    assert (ImageClass(name=shape, images=1, originals=1),) == counted.shapes


def test_classes_go_from_the_smallest_image_to_the_largest_original(ledger: sqlite3.Connection) -> None:
    add(ledger, "http://example.org/a.jpg", size=(128, 96), original=(400, 300))

    assert [(1, 0), (0, 0), (0, 1)] == [(one.images, one.originals) for one in data_set(ledger).sides]


def test_hosts_are_those_with_the_most_images_without_users_and_paths(ledger: sqlite3.Connection) -> None:
    for url in (
        "http://b.example/x/y.jpg", "https://B.example/z.jpg", "http://user:p@ss@b.example?q=1",
        "https://a.example:8443/1.jpg", "https://a.example:8443", "local/file.jpg", "s3://bucket/key.jpg",
    ):  # fmt: skip
        add(ledger, url)
    counted = data_set(ledger)

    expected = [("b.example", 3), ("a.example:8443", 2), ("", 1), ("bucket", 1)]
    assert {HostImages(host=host, images=images) for host, images in expected} == {*counted.hosts}
    assert 4 == counted.hosts_total


def test_rejected_items_are_counted_with_examples_that_hide_secrets(ledger: sqlite3.Connection) -> None:
    for number in range(5):
        reject(ledger, f"http://example.org/{number}.jpg?token=secret", "check.min_size", "10 x 10")

    (rejected,) = data_set(ledger).rejected
    assert ("check.min_size", 5, 3) == (rejected.code, rejected.items, len(rejected.examples))
    assert "secret" not in str(rejected)


def test_a_duplicate_names_the_image_that_it_looks_like(ledger: sqlite3.Connection) -> None:
    add(ledger, "http://example.org/first.jpg")
    reject(ledger, "http://example.org/copy.jpg", "check.unique", f"looks like {bytes(16).hex()}.jpg")

    example = RejectedExample(
        url="http://example.org/copy.jpg", message=f"looks like {bytes(16).hex()}.jpg",
        like="http://example.org/first.jpg",
    )  # fmt: skip
    assert (RejectedItems(code="check.unique", items=1, examples=(example,)),) == data_set(ledger).rejected


def test_what_is_kept_is_given_again_until_an_item_changes(ledger: sqlite3.Connection) -> None:
    add(ledger, "http://example.org/a.jpg")
    reject(ledger, "http://example.org/b.jpg", "check.min_size", "10 x 10")
    counted = data_set(ledger)
    keep_data_set(ledger, counted)
    walked: list[str] = []
    ledger.set_trace_callback(walked.append)

    assert counted == data_set(ledger)
    assert [] == [query for query in walked if "FROM item" in query]
    add(ledger, "http://example.org/c.jpg")
    assert 2 == data_set(ledger).images
