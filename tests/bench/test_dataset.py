"""What the cases work on: the same images and the same waits; a user's server is asked once."""

from pathlib import Path

import pytest

from batchproc.bench.dataset import capture, find_dataset, spread
from batchproc.cli import load_job
from batchproc.config import Config
from batchproc.errors import UsageError
from batchproc.origin import EmbeddedOrigin, OriginSettings
from tests.jobs import MakeJob
from tests.transform.drawing import photo


def config_of(path: Path, *settings: str) -> Config:
    return load_job(path, list(settings))[0]


def quiet(text: str) -> None:
    pass


def test_every_path_has_its_own_wait_and_always_the_same() -> None:
    paths = [f"/{number}.jpg" for number in range(500)]

    waits = spread(paths, latency_seconds=0.05, jitter=0.3, seed=7)

    assert spread(paths, latency_seconds=0.05, jitter=0.3, seed=7) == waits
    assert 500 == len(set(waits.values()))
    assert 0.45 < sum(wait < 0.05 for wait in waits.values()) / 500 < 0.55
    assert {0.05} == set(spread(paths, latency_seconds=0.05, jitter=0.0, seed=7).values())


def test_the_embedded_origin_serves_what_the_list_names_of_it_without_faults(make_job: MakeJob, tmp_path: Path) -> None:
    lines = ["/img/0001.jpg", "/nowhere.jpg", "/img/0000.webp", "/img/0001.jpg", "https://example.com/a.jpg"]
    config = config_of(make_job(lines=lines), "origin.images=5", "origin.seed=7", "job.base_url=")

    found = find_dataset(config, tmp_path / "cache", limit=0, notify=quiet)

    assert "origin" == found.kind
    assert ("/img/0001.jpg", "/img/0000.webp") == found.paths
    assert 2 == found.left_out
    assert 0.0 == found.origin.fault_share
    assert {*found.paths} <= set(found.origin.latencies)


def test_a_list_that_names_nothing_of_the_origin_is_a_usage_error(make_job: MakeJob, tmp_path: Path) -> None:
    config = config_of(make_job(lines=["https://example.com/a.jpg"]), "origin.images=5", "job.base_url=")

    with pytest.raises(UsageError, match="names no image"):
        find_dataset(config, tmp_path, limit=0, notify=quiet)


def test_the_users_photos_need_no_list(make_job: MakeJob, tmp_path: Path) -> None:
    for name in ("b.png", "a.png", "c.png"):
        photo(70, 70).save(tmp_path / name)
    config = config_of(make_job(lines=["/nothing"]), f"bench.photos={tmp_path}")

    found = find_dataset(config, tmp_path / "cache", limit=2, notify=quiet)

    assert ("photos", ("/a.png", "/b.png"), 1) == (found.kind, found.paths, found.left_out)


def test_the_users_urls_are_fetched_once_and_replayed_with_their_waits(make_job: MakeJob, tmp_path: Path) -> None:
    path = make_job(lines=["/img/0001.jpg", "/no/such.jpg", "/img/0000.webp"])
    settings = OriginSettings(images=3, faults=0.0, jitter=0.0, latency_seconds=0.03)
    said: list[str] = []
    with EmbeddedOrigin(settings) as server:
        config = config_of(path, f"job.base_url={server.base_url}")
        first = find_dataset(config, tmp_path / "cache", limit=0, notify=said.append)
    assert server.totals is not None
    second = find_dataset(config, tmp_path / "cache", limit=0, notify=said.append)  # nobody is there any more

    assert first == second
    assert 1 == len(said)
    assert ("replay", 2, 1) == (first.kind, len(first.paths), first.left_out)
    assert [".jpg", ".webp"] == [Path(one).suffix for one in first.paths]
    assert all(wait >= 0.03 for wait in first.origin.latencies.values())
    with EmbeddedOrigin(first.origin) as replay:
        assert {*first.paths} == {*replay.paths()}


def test_only_what_is_missing_is_fetched(make_job: MakeJob, tmp_path: Path, origin: EmbeddedOrigin) -> None:
    config = config_of(make_job(images=4))
    said: list[str] = []

    few = capture(config, tmp_path / "cache", limit=2, notify=said.append)
    with (tmp_path / "cache/index.jsonl").open("a") as index:
        index.write('{"key": "half a li')  # a bench that was killed
    more = capture(config, tmp_path / "cache", limit=4, notify=said.append)

    assert few.paths == more.paths[:2]
    assert 4 == len(more.paths)
    assert ["fetching 2 originals", "fetching 2 originals"] == [text[:20] for text in said]


def test_a_list_of_which_nothing_comes_is_a_usage_error(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="none of the first 1 items"):
        capture(config_of(make_job(lines=["/no/such.jpg"])), tmp_path / "cache", limit=9, notify=quiet)


def test_stdin_cannot_be_read_by_every_case(make_job: MakeJob, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="stdin"):
        find_dataset(config_of(make_job(), "job.input=-"), tmp_path, limit=0, notify=quiet)
