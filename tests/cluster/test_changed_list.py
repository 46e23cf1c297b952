"""A list that has changed since its parts were planned: what is new is done, and the rows are those of the list."""

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchproc.api import run
from batchproc.cluster import shared_run as cluster_run
from batchproc.cluster.partition import Earlier, make_plan
from batchproc.cluster.scattering import ChangeKind, Changes, amend
from batchproc.cluster.shard_plan import ClusterPlan, decode_line, read_plan
from batchproc.errors import ExitCode, UsageError
from batchproc.pipeline import RunOptions
from batchproc.pipeline.import_list import JobList
from batchproc.progress import Quiet
from batchproc.sources import ListFormat
from tests.cluster.conftest import MakeJob, Site
from tests.cluster.engines import ThreadEngine
from tests.object_store import BUCKET, store

pytest.importorskip("publicsuffixlist", reason="the extra [dask] is not installed")
pytestmark = pytest.mark.extra

__all__ = ["store"]

HEAD = "url,caption,n\n"


class Planned:
    """A list as a table of number and caption, and its plan in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / "list.csv"
        self.plan: ClusterPlan | None = None
        self.how: dict[str, str] = {}
        self.duplicates = "first"

    def share_out(self, *lines: str, shard_urls: int = 10) -> ClusterPlan:
        """Shares out what is new of these lines."""
        self.path.write_text("".join(f"{line}\n" for line in ("url,caption", *lines)))
        listed = JobList(
            paths=(str(self.path),), format=ListFormat(**self.how), duplicates=self.duplicates  # type: ignore[arg-type]
        )
        earlier = self.plan and Earlier(plan=self.plan, lines=self.lines(self.plan), changes=self.changes())
        self.plan = make_plan(listed, self.folder / "plan", shard_urls=shard_urls, earlier=earlier)
        assert self.plan == read_plan(self.folder / "plan")
        return self.plan

    def lines(self, plan: ClusterPlan) -> Iterator[tuple[int, bytes]]:
        for shard in plan.shards:
            content = (self.folder / "plan" / shard.list_name).read_bytes()
            part = content[shard.offset : shard.offset + shard.size_bytes]
            yield from ((shard.number, line) for line in part.splitlines(keepends=True))

    def changes(self) -> Changes:
        assert self.plan is not None
        index = {part: (offset, size_bytes) for part, offset, size_bytes in self.plan.changed}
        return Changes(path=self.folder / "plan" / self.plan.changes, index=index)

    def listed(self) -> list[tuple[int, str, str]]:
        """What all parts list by now, in the order of the list."""
        assert self.plan is not None
        found = []
        for shard in self.plan.shards:
            part = b"".join(line for number, line in self.lines(self.plan) if number == shard.number)
            found += map(decode_line, amend(part, self.changes().of(shard.number)).splitlines())
        captions = [json.loads(item.extra_json)["caption"] for item in found]
        return sorted((item.line, item.url, caption) for item, caption in zip(found, captions, strict=True))

    def kinds(self) -> list[ChangeKind]:
        """What became of the lines of all parts."""
        assert self.plan is not None
        return [change.kind for shard in self.plan.shards for change in self.changes().of(shard.number).values()]


@pytest.fixture
def planned(tmp_path: Path) -> Planned:
    return Planned(tmp_path)


def url(number: int, caption: str = "x", host: str = "") -> str:
    return f"http://{host or f'h{number % 4}.com'}/{number},{caption}"


def numbered(*lines: str) -> list[tuple[int, str, str]]:
    return [(number, *line.split(",")) for number, line in enumerate(lines, 2)]  # type: ignore[misc]


def test_a_list_that_grew_gets_parts_for_what_is_new(planned: Planned) -> None:
    first = planned.share_out(*map(url, range(25)))
    before = (planned.folder / "plan/list.jsonl").read_bytes()

    grown = planned.share_out(*map(url, range(40)))

    assert first.shards == grown.shards[: len(first.shards)]
    assert 15 == sum(shard.items for shard in grown.shards[len(first.shards) :])
    assert before == (planned.folder / "plan/list.jsonl").read_bytes()
    assert (first.name, 40, 2, ()) == (grown.name, grown.items, grown.lists, grown.changed)
    assert numbered(*map(url, range(40))) == planned.listed()


@pytest.mark.parametrize(
    ("lines", "kinds"),
    [
        ([url(number) for number in range(7)], {ChangeKind.GONE: 3}),
        ([url(number) for number in reversed(range(10))], {ChangeKind.MOVED: 10}),
        ([url(number, "y" if number == 3 else "x") for number in range(10)], {ChangeKind.CHANGED: 1}),
        ([], {ChangeKind.GONE: 10}),
        ([url(3, "z"), url(50), url(1)], {ChangeKind.GONE: 8, ChangeKind.CHANGED: 1, ChangeKind.MOVED: 1}),
    ],
    ids=["fewer", "in another order", "another caption", "none", "all at once"],
)
def test_the_parts_list_what_the_list_does_by_now(
    planned: Planned, lines: list[str], kinds: dict[ChangeKind, int]
) -> None:
    planned.share_out(*map(url, range(10)))

    planned.share_out(*lines)

    assert numbered(*lines) == planned.listed()
    assert kinds == {kind: planned.kinds().count(kind) for kind in planned.kinds()}


def test_what_went_and_came_back_is_new_and_what_changed_and_changed_back_is_not(planned: Planned) -> None:
    planned.share_out(*map(url, range(4)))
    planned.share_out(url(0), url(1, "y"), url(2))

    planned.share_out(*map(url, range(4)))
    assert numbered(*map(url, range(4))) == planned.listed()
    assert [ChangeKind.AGAIN, ChangeKind.CHANGED] == sorted(planned.kinds(), key=str)

    planned.share_out(*map(url, range(3)))
    assert numbered(*map(url, range(3))) == planned.listed()
    assert [ChangeKind.CHANGED, ChangeKind.GONE, ChangeKind.GONE] == sorted(planned.kinds(), key=lambda kind: kind.name)


def test_another_url_under_the_same_id_is_new(planned: Planned) -> None:
    planned.how = {"id_column": "caption"}
    planned.share_out(url(0, "a"), url(1, "b"), url(2, "c"))

    planned.share_out(url(0, "a"), url(9, "b"), url(2, "c"))

    assert [(2, "http://h0.com/0"), (3, "http://h1.com/9"), (4, "http://h2.com/2")] == [
        listed[:2] for listed in planned.listed()
    ]
    assert [ChangeKind.AGAIN] == planned.kinds()


@pytest.mark.parametrize(("duplicates", "kinds"), [("first", []), ("rows", [ChangeKind.CHANGED])])
def test_each_row_of_an_item_counts_where_rows_are_kept(
    planned: Planned, duplicates: str, kinds: list[ChangeKind]
) -> None:
    planned.duplicates = duplicates
    planned.share_out(url(0), url(1), url(0, "y"))

    plan = planned.share_out(url(0), url(1), url(0, "z"))

    assert kinds == planned.kinds()
    assert (3, 1) == (plan.items, plan.duplicates)


def test_a_list_that_is_refused_leaves_the_plan_as_it_was(planned: Planned) -> None:
    first = planned.share_out(*map(url, range(4)))
    listed = JobList(paths=(str(planned.path),), format=ListFormat(), duplicates="first")

    def refuse(*_: object) -> None:
        raise UsageError("no")

    earlier = Earlier(plan=first, lines=planned.lines(first), changes=planned.changes())
    with pytest.raises(UsageError):
        make_plan(listed, planned.folder / "plan", shard_urls=10, earlier=earlier, check=refuse)

    assert first == read_plan(planned.folder / "plan")
    assert {"list.jsonl", "plan.json"} == {path.name for path in (planned.folder / "plan").iterdir()}


def rows(output: Path, name: str = "metadata.jsonl") -> list[dict[str, object]]:
    found = [json.loads(line) for line in (output / name).read_text().splitlines()]
    return sorted(found, key=lambda row: str(row["key"]))


def images(output: Path) -> set[str]:
    return {path.name for path in (output / "images").rglob("*.*")}


def test_a_changed_list_comes_to_what_it_comes_to_on_one_machine(
    make_job: MakeJob, sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_run, "open_engine", lambda _table: ThreadEngine())
    lists = tmp_path / "list.csv"
    places = [f"{site.base}/image/{number}" for number in range(4) for site in sites[:3]]
    missing = [f"{site.base}/missing/{number}" for number in range(2) for site in sites[:3]]
    first = [*(f"{place},one,1" for place in places[:8]), *(f"{place},gone,2" for place in missing[:4]), "no url,,"]
    second = [*(f"{place},two,2.5" for place in places[3:]), *(f"{place},gone,2" for place in missing[2:])]
    settings = ["job.prune=true", "job.max_runs_per_item=1"]
    alone = make_job(cluster="", output=str(tmp_path / "alone"), settings=settings)
    shared = make_job(settings=settings)
    for night in (first, [*second, f"{places[3]},,"]):
        lists.write_text(HEAD + "".join(f"{line}\n" for line in night))
        expected = run(alone)
        asked = sum(site.asked.total() for site in sites)
        found = cluster_run.run_on_cluster(shared, RunOptions(), Quiet())
        asked = sum(site.asked.total() for site in sites) - asked

    output = tmp_path / "out"
    assert ExitCode.DONE == found.exit_code
    assert rows(tmp_path / "alone") == rows(output)
    assert rows(tmp_path / "alone", "failures.jsonl") == rows(output, "failures.jsonl")
    assert images(tmp_path / "alone") == images(output)
    assert 4 + 2 == asked
    names = ("items", "done", "failed", "pending", "duplicates", "bad_rows", "processed", "absent")
    assert [getattr(expected.counts, name) for name in names] == [getattr(found.counts, name) for name in names]


def in_shards(shards: list[dict[str, object]], read: Callable[[str], bytes]) -> set[str]:
    """The keys of the samples in these shards."""
    found: set[str] = set()
    for shard in shards:
        with tarfile.open(fileobj=io.BytesIO(read(str(shard["name"])))) as tar:
            found |= {name.partition(".")[0] for name in tar.getnames()}
    return found


@pytest.mark.parametrize("place", ["folder", "bucket"])
def test_what_a_list_grew_by_comes_into_shards_of_its_own(
    make_job: MakeJob, sites: list[Site], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    monkeypatch.setattr(cluster_run, "open_engine", lambda _table: ThreadEngine())
    settings = ['output.layout="webdataset"', "output.shard_items=3"]
    if place == "bucket":
        pytest.importorskip("obstore", reason="the extra [cloud] is not installed")
        objects = request.getfixturevalue("store").objects
        settings += [f"job.output=s3://{BUCKET}/set", "job.state=out"]
    read = (tmp_path / "out").joinpath if place == "folder" else None
    places = [f"{site.base}/image/{number}" for number in range(4) for site in sites[:3]]
    job, manifests = make_job(settings=settings), []
    for night in (places[:7], places):
        (tmp_path / "list.csv").write_text("url\n" + "".join(f"{place}\n" for place in night))
        found = cluster_run.run_on_cluster(job, RunOptions(), Quiet())
        content = read("manifest.json").read_bytes() if read else objects["set/manifest.json"]
        manifests.append(json.loads(content)["shards"])

    first, second = manifests
    assert (ExitCode.DONE, 12, 5) == (found.exit_code, found.counts.done, found.counts.processed)
    assert first == second[: len(first)]
    keys = in_shards(second, lambda name: read(name).read_bytes() if read else objects[f"set/{name}"])
    assert 12 == len(keys) == sum(shard["count"] for shard in second)
    assert keys == {row["key"] for row in rows(tmp_path / "out")}


def test_what_is_made_again_takes_nothing_of_what_was_committed(
    make_job: MakeJob, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_run, "open_engine", lambda _table: ThreadEngine())
    job = make_job(images=2)
    asked = [0]
    for options in (RunOptions(), RunOptions(fresh=True), RunOptions(accept_config_change=True), RunOptions()):
        result = cluster_run.run_on_cluster(job, options, Quiet())
        assert (10, 10) == (result.counts.items, result.counts.done)
        asked.append(sum(site.asked.total() for site in sites))

    assert [0, 10, 20, 20, 20] == asked


def test_other_settings_are_refused_until_they_are_accepted(
    make_job: MakeJob, sites: list[Site], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_run, "open_engine", lambda _table: ThreadEngine())
    cluster_run.run_on_cluster(make_job(images=1), RunOptions(), Quiet())
    job = make_job(images=1, settings=["output.quality=50"])

    with pytest.raises(UsageError, match="--accept-config-change makes every image again"):
        cluster_run.run_on_cluster(job, RunOptions(), Quiet())

    result = cluster_run.run_on_cluster(job, RunOptions(accept_config_change=True), Quiet())
    assert (5, 10) == (result.counts.done, sum(site.asked.total() for site in sites))
