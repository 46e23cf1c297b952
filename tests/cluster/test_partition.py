"""A list in parts: nothing is lost, nothing is asked by two at once, and the same list makes the same parts."""

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchproc.cluster import partition, scattering
from batchproc.cluster.shard_plan import LIST_NAME, PLAN_NAME, DomainSize, decode_line, encode_line, read_plan
from batchproc.columns import Columns
from batchproc.errors import UsageError
from batchproc.model import ListedItem
from tests.cluster.lists import rows_after_import, share_out

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra

AWKWARD = [
    {"url": "http://a.example.org/1.jpg", "n": 1, "tags": ["x", "y"], "at": {"lat": 1.5, "name": "Köln \u2028"}},
    {"url": "http://b.example.org/2.jpg", "n": None, "tags": [], "at": None},
    {"url": "http://c.example.net/3.jpg", "n": 2**53 + 1, "tags": None, "at": {"lat": 2, "name": 'quote " comma ,\n'}},
    {"url": "no url at all", "n": 0.5},
    {"url": "http://a.example.org/1.jpg", "n": "text", "emoji": "\U0001f4f7", "lone": "\ud800"},
    {"url": 7},
    {"url": "http://[::1]:8080/4.jpg", "deep": [[[{"a": [1, 2.5, None, True]}]]]},
]


def write_table(path: Path) -> None:
    path.write_bytes(b'url,n,text\nhttp://a.com/1,1,"two\nlines"\nhttp://b.org/2,x,\n,3,\nhttp://c.de/\xff,4,\n,,\n')


def write_text(path: Path) -> None:
    path.write_bytes(b"http://a.com/1\n# no item\n\nhttp://b.org/2\n" + b"http://c.de/" + b"x" * 9000 + b"\n\xff\n")


def write_json(path: Path) -> None:
    lines = [json.dumps(row) for row in AWKWARD]
    path.write_text("\n".join([*lines, '{"url": "http://a.com/nan", "n": NaN}', "no json", "[1]", ""]))


def write_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = [{"url": f"http://h{i}.example.org/{i}", "x": float("nan") if i == 3 else i / 2, "l": [i]} for i in range(9)]
    parquet.write_table(pyarrow.Table.from_pylist([*rows, {"url": None, "x": None, "l": None}]), path)


FORMS: dict[str, Callable[[Path], None]] = {
    "list.csv": write_table, "list.txt": write_text, "list.jsonl": write_json, "list.parquet": write_parquet,
}  # fmt: skip


def write_urls(path: Path, *urls: str) -> Path:
    path.write_text("".join(f"{url}\n" for url in urls))
    return path


@pytest.mark.parametrize("names", [[name] for name in FORMS] + [[*FORMS]], ids=" ".join)
def test_the_parts_list_together_what_the_list_does(names: list[str], tmp_path: Path) -> None:
    paths = [tmp_path / name for name in names]
    for path in paths:
        FORMS[path.name](path)

    shared = share_out(paths, tmp_path / "plan")

    columns = Columns()
    listed = [*shared.job_list.items(columns)]
    assert listed == sorted((item for part in shared.items() for item in part), key=lambda item: item.line)
    assert (len(listed), columns.dump()) == (shared.plan.items, shared.plan.columns)


@pytest.mark.parametrize("keep_rows", [False, True], ids=["first", "rows"])
def test_the_parts_find_the_duplicates_and_bad_rows_that_one_run_finds(keep_rows: bool, tmp_path: Path) -> None:
    write_json(tmp_path / "list.jsonl")
    shared = share_out([tmp_path / "list.jsonl"], tmp_path / "plan")

    imported, rows = rows_after_import(shared.job_list, tmp_path / "whole", keep_rows=keep_rows)
    found = [rows_after_import(part, tmp_path / part.path.stem, keep_rows=keep_rows) for part in shared.parts()]

    assert rows == sorted((row for _, more in found for row in more), key=lambda row: json.dumps(row, sort_keys=True))
    for counted in ("new", "duplicates", "bad_rows"):
        assert getattr(imported, counted) == sum(getattr(one, counted) for one, _ in found)


def test_the_same_id_at_two_hosts_is_the_bad_row_that_one_run_makes_of_it(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    urls = [f"http://h{host}.site{host}.com/{number}" for number in range(20) for host in range(3)]
    path.write_text("url,id\n" + "".join(f"{url},{url.rpartition('/')[2]}\n" for url in urls))
    shared = share_out([path], tmp_path / "plan", id_column="id", shard_urls=30)

    imported, rows = rows_after_import(shared.job_list, tmp_path / "whole", keyed_by_id=True)
    found = [rows_after_import(part, tmp_path / part.path.stem, keyed_by_id=True) for part in shared.parts()]

    assert (20, 40) == (imported.new - imported.bad_rows, imported.bad_rows)
    assert rows == sorted((row for _, more in found for row in more), key=lambda row: json.dumps(row, sort_keys=True))


def test_spellings_of_one_url_meet_in_one_part(tmp_path: Path) -> None:
    spellings = [
        "http://bücher.example/a?b", "http://xn--bcher-kva.example/a?b", "HTTP://BÜCHER.example.:80/a?b#c",
        "http://one.org?q", "http://one.org/?q", "http://[0:0::1]/x", "http://[::1]/x",
    ]  # fmt: skip
    others = [f"http://h{number}.com/" for number in range(60)]
    path = write_urls(tmp_path / "list.txt", *others[:30], *spellings[::2], *others[30:], *spellings[1::2])

    shared = share_out([path], tmp_path / "plan")

    parts_of = Counter(key for part in shared.items() for key in {item.key for item in part})
    assert {1} == set(parts_of.values())
    assert 3 + 60 == len(parts_of)


def test_the_hosts_of_one_domain_are_in_one_part_and_its_slices_follow_each_other(tmp_path: Path) -> None:
    big = [f"http://h{number % 7}.big.co.uk/{number}" for number in range(45)]
    small = [f"http://h{number % 3}.small{number % 20}.co.uk/{number}" for number in range(60)]
    path = write_urls(tmp_path / "list.txt", *(url for pair in zip(small, big, strict=False) for url in pair))

    shared = share_out([path], tmp_path / "plan")

    slices = [shard for shard in shared.plan.shards if shard.domain]
    assert [None, *(shard.number for shard in slices[:-1])] == [shard.after for shard in slices]
    assert {"big.co.uk"} == {shard.domain for shard in slices}
    parts_of = Counter(
        domain for part in shared.items() for domain in {item.url.split("/")[2].split(".", 1)[1] for item in part}
    )
    assert {"big.co.uk": len(slices)} == {domain: parts for domain, parts in parts_of.items() if parts > 1}
    assert DomainSize(domain="big.co.uk", items=45) == shared.plan.largest[0]


def test_a_part_keeps_the_order_of_the_list_and_takes_no_more_than_it_should(tmp_path: Path) -> None:
    path = write_urls(tmp_path / "list.txt", *(f"http://h{number * 7 % 31}.com/{number}" for number in range(300)))

    shared = share_out([path], tmp_path / "plan", shard_urls=40)

    for part in shared.items():
        assert sorted(part, key=lambda item: item.line) == part
        assert len(part) <= 40


def test_the_same_list_makes_the_same_parts_whatever_fits_into_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_urls(tmp_path / "list.txt", *(f"http://h{number % 13 % 5}.org/{number}" for number in range(300)))
    share_out([path], tmp_path / "one", shard_urls=25)
    monkeypatch.setattr(partition, "HELD_BYTES", 100)
    monkeypatch.setattr(scattering, "CACHED", 1)

    share_out([path], tmp_path / "two", shard_urls=25)

    for name in (LIST_NAME, PLAN_NAME):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert {LIST_NAME, PLAN_NAME} == {path.name for path in (tmp_path / "two").iterdir()}


def test_a_list_or_a_setting_that_differs_makes_another_plan(tmp_path: Path) -> None:
    first = write_urls(tmp_path / "list.txt", "http://a.org/1", "http://b.org/2")
    other = write_urls(tmp_path / "other.txt", "http://a.org/1", "http://b.org/3")

    plans = [
        share_out([first], tmp_path / "1").plan, share_out([other], tmp_path / "2").plan,
        share_out([first], tmp_path / "3", shard_urls=11).plan,
    ]  # fmt: skip

    assert 3 == len({plan.digest for plan in plans})


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    path = write_urls(tmp_path / "list.txt", *(f"http://a.org/{number}" for number in range(25)), "http://b.org/2")

    shared = share_out([path], tmp_path / "plan")

    assert shared.plan == read_plan(tmp_path / "plan")
    assert read_plan(tmp_path) is None


def test_an_empty_list_has_no_parts(tmp_path: Path) -> None:
    shared = share_out([write_urls(tmp_path / "list.txt")], tmp_path / "plan")

    assert (0, 0, ()) == (shared.plan.items, shared.plan.hosts, shared.plan.shards)


def test_a_list_that_cannot_be_read_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        share_out([tmp_path / "missing.txt"], tmp_path / "plan")

    assert [] == [*(tmp_path / "plan").iterdir()]


@pytest.mark.parametrize(
    "values",
    [
        {}, {"extra_json": '{"a": 1}'}, {"code": "input.row", "message": 'it\'s "bad"\n'},
        {"url": "\ud800 \U0001f4f7 \x00"},
    ],
    ids=["plain", "columns", "bad", "odd text"],
)  # fmt: skip
def test_a_line_comes_back_as_it_was(values: dict[str, Any]) -> None:
    item = ListedItem(**{"key": bytes(range(16)), "line": 1 << 41, "url": "http://a.org/"} | values)

    line = encode_line(item)

    assert item == decode_line(line)
    assert 1 == len(line.splitlines())


def test_bad_rows_are_counted_when_the_list_is_shared_out(tmp_path: Path) -> None:
    write_table(tmp_path / "list.csv")

    shared = share_out([tmp_path / "list.csv"], tmp_path / "plan")

    assert sum(bool(item.code) for item in shared.job_list.items()) == shared.plan.bad_rows
