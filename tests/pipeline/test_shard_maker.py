"""`[output] layout = "webdataset"`: images and rows in tar shards, the same bytes whatever came between."""

import hashlib
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from batchproc.cli import load_job
from batchproc.errors import UsageError
from batchproc.ledger import writer
from batchproc.pipeline.rebuild import rebuild_ledger
from batchproc.pipeline.shard_maker import ShardMaker
from batchproc.pipeline.types import RunOptions
from batchproc.report.status import describe_plan, missing_files, resolve_plan
from tests.jobs import MakeJob

from .site import Site, picture
from .test_job import rows
from .test_modes import images, run

SHARDS = (
    'output.layout="webdataset"', "output.shard_items=5", 'transform.mode="serial"', "report.sampling=false",
)  # fmt: skip


def manifest(output: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((output / "manifest.json").read_bytes())
    return content


def shards(output: Path) -> dict[str, bytes]:
    """What lies in the folder of shards, by name."""
    return {f"shards/{path.name}": path.read_bytes() for path in sorted((output / "shards").iterdir())}


def members(output: Path) -> dict[str, bytes]:
    """All members of all shards that the manifest names, in their order."""
    found: dict[str, bytes] = {}
    for shard in manifest(output)["shards"]:
        with tarfile.open(output / shard["name"]) as file:
            found |= {member.name: reader.read() for member in file if (reader := file.extractfile(member))}
    return found


def listed_rows(output: Path) -> list[Mapping[str, Any]]:
    return [json.loads(content) for name, content in members(output).items() if name.endswith(".json")]


def assert_whole(output: Path) -> None:
    """The manifest says what is there, nothing else is there, and no image waits."""
    found = shards(output)
    told = manifest(output)["shards"]
    assert [*found] == [shard["name"] for shard in told]
    for shard in told:
        content = found[shard["name"]]
        assert (len(content), hashlib.sha256(content).hexdigest()) == (shard["bytes"], shard["sha256"])
    assert [] == images(output)
    assert rows(output / "metadata.jsonl") == listed_rows(output)


@pytest.fixture
def write_csv(site: Site, tmp_path: Path, make_job: MakeJob) -> Callable[[str], Path]:
    """Writes a job on the site with this list."""

    def write(text: str) -> Path:
        config = make_job(images=1)
        (tmp_path / "list.csv").write_text(text)
        config.write_text(
            config.read_text().replace('"list.txt"', '"list.csv"').replace("base_url = ", f'base_url = "{site.url}" #')
        )
        return config

    return write


def test_a_shard_holds_neighbouring_items_in_their_order(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=12), *SHARDS)

    output = tmp_path / "out"
    assert [5, 5, 2] == [shard["count"] for shard in manifest(output)["shards"]]
    assert ["00000", "00001", "00002"] == [name[7:12] for name in shards(output)]
    keys = [row["key"] for row in rows(output / "metadata.jsonl")]
    assert [f"{key}{end}" for key in keys for end in (".jpg", ".json")] == [*members(output)]
    assert_whole(output)


def test_images_are_those_of_the_layout_of_files(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12, faults=True)
    run(config)
    run(config, *SHARDS, 'job.output="shards"')

    expected = {path.name: path.read_bytes() for path in images(tmp_path / "out")}
    found = {name: content for name, content in members(tmp_path / "shards").items() if name.endswith(".jpg")}
    assert expected == found


def test_modes_and_interruptions_change_no_byte(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12)
    run(config, *SHARDS)
    expected = shards(tmp_path / "out")

    for limit in (3, 4, 0):
        run(config, *SHARDS, 'job.output="again"', options=RunOptions(limit=limit))
        assert_whole(tmp_path / "again")
    run(config, *SHARDS, 'transform.mode="thread"', 'job.output="threads"')

    assert expected == shards(tmp_path / "again")
    assert expected == shards(tmp_path / "threads")


def test_a_run_with_nothing_to_do_changes_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=7)
    run(config, *SHARDS)
    paths = [*(tmp_path / "out/shards").iterdir(), tmp_path / "out/manifest.json", tmp_path / "out/metadata.jsonl"]
    before = {path: path.stat().st_mtime_ns for path in paths}

    result = run(config, *SHARDS)

    assert before == {path: path.stat().st_mtime_ns for path in paths}
    assert 7 == result.counts.already_done


def test_a_new_line_makes_the_last_shard_again_and_no_other(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=7)
    run(config, *SHARDS)
    before = shards(tmp_path / "out")

    run(make_job(images=8), *SHARDS)

    after = shards(tmp_path / "out")
    assert 1 == len({*before} & {*after})
    assert [5, 3] == [shard["count"] for shard in manifest(tmp_path / "out")["shards"]]
    assert_whole(tmp_path / "out")


def test_more_than_the_spool_holds_makes_shards_before_they_are_complete(
    make_job: MakeJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = make_job(images=12)
    steps = 'transform.steps=[{op = "resize", size = [400, 400]}]'  # as PNGs of some 200 KB
    large = (*SHARDS, "output.shard_items=100", steps, 'output.format="png"')
    run(config, *large)
    asked: list[bool] = []
    ask_for = ShardMaker._ask_for
    monkeypatch.setattr(writer, "BATCH", 5)  # else a quick machine commits all of the shard at once
    monkeypatch.setattr(
        ShardMaker,
        "_ask_for",
        lambda self, number, *, is_complete: (
            asked.append(is_complete),
            ask_for(self, number, is_complete=is_complete),
        ),
    )

    run(config, *large, 'output.spool="1MB"', 'job.output="small"')

    assert False in asked
    assert shards(tmp_path / "out") == shards(tmp_path / "small")


def test_what_failed_and_comes_later_is_in_a_new_shard(
    write_csv: Callable[[str], Path], site: Site, tmp_path: Path
) -> None:
    config = write_csv("url,n\n/a.png,1\n/b.png,2\n/c.png,3\n")
    site.status["/b.png"] = 404
    run(config, *SHARDS)
    assert ["1", "3"] == [row["n"] for row in listed_rows(tmp_path / "out")]
    old = shards(tmp_path / "out")

    site.status.clear()
    run(config, *SHARDS, options=RunOptions(retry_failed=True))

    assert ["1", "2", "3"] == [row["n"] for row in listed_rows(tmp_path / "out")]
    assert not {*old} & {*shards(tmp_path / "out")}
    assert_whole(tmp_path / "out")


def test_a_changed_image_is_in_a_new_shard(write_csv: Callable[[str], Path], site: Site, tmp_path: Path) -> None:
    config = write_csv("url\n/a.png\n/b.png\n")
    run(config, *SHARDS)
    first = members(tmp_path / "out")
    site.pictures["/b.png"] = picture("blue")

    run(config, *SHARDS, options=RunOptions(refresh=True))

    second = members(tmp_path / "out")
    assert [True, False] == [first[name] == second[name] for name in first if name.endswith(".jpg")]
    assert_whole(tmp_path / "out")


def test_what_left_the_list_stays_until_it_is_pruned(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=7), *SHARDS)
    before = shards(tmp_path / "out")

    config = make_job(images=4)
    run(config, *SHARDS)
    assert before == shards(tmp_path / "out")
    run(config, *SHARDS, "job.prune=true")

    assert [4] == [shard["count"] for shard in manifest(tmp_path / "out")["shards"]]
    assert_whole(tmp_path / "out")


def test_what_was_kept_is_there_again_when_it_is_listed_again(make_job: MakeJob, tmp_path: Path) -> None:
    run(make_job(images=7), *SHARDS)
    before = shards(tmp_path / "out")
    run(make_job(images=4), *SHARDS)

    result = run(make_job(images=7), *SHARDS)

    assert 0 == result.counts.processed
    assert before == shards(tmp_path / "out")
    assert_whole(tmp_path / "out")


@pytest.mark.parametrize("items", [3, 100])
def test_another_number_of_items_packs_the_same_images_again(make_job: MakeJob, tmp_path: Path, items: int) -> None:
    config = make_job(images=7)
    run(config, *SHARDS)
    before = members(tmp_path / "out")

    result = run(config, *SHARDS, f"output.shard_items={items}")

    assert 0 == result.counts.processed
    assert before == members(tmp_path / "out")
    assert_whole(tmp_path / "out")


def test_images_that_lie_there_as_files_are_packed(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=7)
    run(config)

    result = run(config, *SHARDS)

    assert 0 == result.counts.processed
    assert [5, 2] == [shard["count"] for shard in manifest(tmp_path / "out")["shards"]]
    assert_whole(tmp_path / "out")


def test_a_job_that_makes_files_again_has_them_all(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12)
    run(config)
    before = {path.name: path.read_bytes() for path in images(tmp_path / "out")}
    told = (tmp_path / "out/metadata.jsonl").read_bytes()
    run(config, *SHARDS)

    result = run(config)

    assert 0 == result.counts.processed
    assert before == {path.name: path.read_bytes() for path in images(tmp_path / "out")}
    assert told == (tmp_path / "out/metadata.jsonl").read_bytes()
    assert {} == shards(tmp_path / "out")
    assert not (tmp_path / "out/manifest.json").exists()
    assert 0 == run(config, *SHARDS).counts.processed
    assert_whole(tmp_path / "out")


def test_a_lost_ledger_is_rebuilt_from_shards(write_csv: Callable[[str], Path], site: Site, tmp_path: Path) -> None:
    config = write_csv("url,TEXT\n/a.png,one\n/b.png,two\n/none.png,three\n/c.png,four\n")
    sets = (*SHARDS, "output.shard_items=2", "output.caption=TEXT")
    run(config, *sets)
    before = shards(tmp_path / "out")
    for path in (tmp_path / "out").glob("batchproc.db*"):
        path.unlink()

    rebuilt = rebuild_ledger(*load_job(config, sets), same_plan=False)

    assert (3, 0) == (rebuilt.restored.done, rebuilt.counts.pending)
    assert 0 == run(config, *sets).counts.processed
    assert before == shards(tmp_path / "out")
    assert_whole(tmp_path / "out")


def test_a_shard_that_is_gone_or_altered_is_made_again_on_demand(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=12)
    run(config, *SHARDS)
    before = shards(tmp_path / "out")
    first, second, _ = ((tmp_path / "out" / name) for name in before)
    first.unlink()
    second.write_bytes(second.read_bytes().replace(b"JFIF", b"JFIX"))

    assert 5 == missing_files(load_job(config, SHARDS)[0])
    run(config, *SHARDS, options=RunOptions(repair=True))

    assert before == shards(tmp_path / "out")
    assert_whole(tmp_path / "out")


def test_a_caption_has_a_file_of_its_own_in_every_sample(
    write_csv: Callable[[str], Path], site: Site, tmp_path: Path
) -> None:
    config = write_csv("url,TEXT,text\n/a.png,eine Möwe,x\n/b.png,,y\n")

    run(config, *SHARDS, 'output.caption="TEXT"')

    texts = [content for name, content in members(tmp_path / "out").items() if name.endswith(".txt")]
    assert ["eine Möwe".encode(), b""] == texts
    assert [("eine Möwe", "x"), ("", "y")] == [(row["text"], row["list_text"]) for row in listed_rows(tmp_path / "out")]


def test_the_data_card_counts_images_and_licences(write_csv: Callable[[str], Path], site: Site, tmp_path: Path) -> None:
    config = write_csv("url,license\n/a.png,CC0\n/b.png,\n/none.png,CC0\n/c.png,CC0\n")

    run(config, *SHARDS, "report.html=true")

    told = (tmp_path / "out/README.md").read_text()
    assert "3 images in 1 shard, " in told
    assert f"| `{site.url.split('/')[2]}` | 3 |\n" in told
    assert '[[transform.steps]]\nop = "resize"\n' in told
    pictures = sorted(f"![](thumbnails/{path.name})" for path in (tmp_path / "out/thumbnails").iterdir())
    assert (3, True) == (len(pictures), " ".join(pictures) in told)
    assert "| `http.404` | 1 |" in told
    assert "| `CC0` | 2 |\n| none | 1 |\n" in told


def test_a_caption_that_is_no_column_is_refused(write_csv: Callable[[str], Path], tmp_path: Path) -> None:
    config = write_csv("url,caption\n/a.png,x\n")

    with pytest.raises(UsageError, match='no column "captoin"; did you mean "caption"'):
        run(config, *SHARDS, 'output.caption="captoin"')


def test_a_caption_that_is_named_later_makes_the_rows_anew(
    write_csv: Callable[[str], Path], site: Site, tmp_path: Path
) -> None:
    config = write_csv("url,TEXT\n/a.png,x\n")
    run(config)

    assert 0 == run(config, "output.caption=TEXT").counts.processed

    assert ["x"] == [row["text"] for row in rows(tmp_path / "out/metadata.jsonl")]


def test_splits_of_shards_are_refused(make_job: MakeJob) -> None:
    with pytest.raises(UsageError, match=r"\[output\] splits"):
        run(make_job(images=1), *SHARDS, "output.splits={train = 1.0}")


def test_every_row_of_an_image_is_a_sample(write_csv: Callable[[str], Path], site: Site, tmp_path: Path) -> None:
    config = write_csv("url,n\n/a.png,1\n/b.png,2\n/a.png,3\n")

    run(config, *SHARDS, 'job.duplicates="rows"')

    names = [name.partition(".")[0] for name in members(tmp_path / "out") if name.endswith(".jpg")]
    assert [names[0], f"{names[0]}-2", names[2]] == names
    assert ["1", "3", "2"] == [row["n"] for row in listed_rows(tmp_path / "out")]
    assert_whole(tmp_path / "out")


def test_the_plan_says_what_waits_and_where(make_job: MakeJob) -> None:
    config, _ = load_job(make_job(images=1), (*SHARDS, 'output.spool="2GB"'))

    told = describe_plan(resolve_plan(config))

    assert "shards      webdataset, 5 items each; until theirs is complete, images wait in " in told
    assert "/images, at most 2" in told


def test_a_list_without_any_image_makes_an_empty_data_set(write_csv: Callable[[str], Path], tmp_path: Path) -> None:
    run(write_csv("url\n/none.png\n"), *SHARDS)

    assert [] == manifest(tmp_path / "out")["shards"]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 40 kB for the job's shards."""
    folder = tmp_path / "out/shards"
    folder.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=40k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("no disk may be mounted here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


@pytest.mark.skipif(shutil.which("mount") is None, reason="no disk can be mounted here")
def test_a_disk_that_gets_full_while_a_shard_is_written_loses_nothing(
    make_job: MakeJob, tmp_path: Path, small_disk: Path
) -> None:
    """The first shards fit, a later one does not; what is there stays, what waits is packed when there is room."""
    config = make_job(images=30)

    result = run(config, *SHARDS)
    assert 5 == result.exit_code
    assert "No space left on device. Nothing is lost: its images wait as files" in str(result.error)
    assert [] == [path for path in small_disk.iterdir() if path.suffix == ".tmp"]
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    again = run(config, *SHARDS)

    assert (0, 30) == (again.exit_code, again.counts.done)
    assert again.counts.processed <= 30 - result.counts.done
    assert_whole(tmp_path / "out")


def test_a_full_disk_loses_nothing(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=7)
    (tmp_path / "out").mkdir()
    (tmp_path / "out/shards").write_text("in the way")

    result = run(config, *SHARDS)
    assert 5 == result.exit_code
    assert "shards: cannot be written" in str(result.error)
    (tmp_path / "out/shards").unlink()
    result = run(config, *SHARDS)

    assert 0 == result.counts.processed
    assert_whole(tmp_path / "out")
