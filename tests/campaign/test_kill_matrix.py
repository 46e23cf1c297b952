"""SIGKILL at every point of a whole job, for each of its processes: the next start ends as if nothing had happened.

The short version is in the suite; the whole matrix is `pytest -m slow tests/campaign`.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from batchproc.origin import EmbeddedOrigin, OriginSettings
from batchproc.origin.site import demo_paths
from batchproc.transform.encode import SLICE_BYTES
from tests.campaign.family import FATAL, Family, run_to_its_end, started
from tests.campaign.jobs import write_job
from tests.campaign.meeting import Meeting
from tests.campaign.remains import Result, faults_of_result, faults_of_scene, result_of, scene_of

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by their pidfd")

IMAGES = 16
LATE_SECONDS = 8.0  # long after the first batch was named and, half a second later, done, on a busy machine too

EVERYBODY = ("parent", "worker", "fork server", "fork server+worker", "group")
BEFORE_WORKERS = ("parent", "group")
AFTER_WORKERS = ("parent", "fork server", "group")  # also of a job so quick that they may be gone by its first commit

# Every process counts its own passes.
IMPORT = ("ledger.import_begun:1", "ledger.import:1", "ledger.import_end:1")
IN_WORKER = (
    "transform.temporary_open:1",
    "transform.temporary_open:4",
    "transform.mid_write:1",
    "transform.mid_write:5",
    "transform.written:1",
    "transform.written:4",
)
OF_EIGHT = (*IN_WORKER[:3], "transform.mid_write:4", *IN_WORKER[4:])  # one of two workers gets four of them at least
FIRST_BATCH = (
    "ledger.before_staged:1",
    "ledger.in_staged:1",
    "ledger.after_staged:1",
    "ledger.between_renames:1",
    "ledger.between_renames:9",
    "ledger.before_done:1",
    "ledger.after_done:1",
)
LAST_BATCH = ("ledger.before_staged:2", "ledger.in_staged:2", "ledger.after_staged:2")
AT_THE_END = (
    "ledger.before_done:1",  # of the only batch
    "ledger.after_done:1",
    "sink.beginning_copied:1",
    "sink.before_replace:1",  # metadata.jsonl
    "sink.before_replace:2",  # failures.jsonl
    "sink.before_replace:3",  # README.md
    "ledger.before_manifests_noted:1",
    "ledger.after_manifests_noted:1",
    "sink.before_replace:4",  # spans.jsonl
    "sink.before_replace:5",  # run.json
)
SHORT = (
    ("transform.mid_write:1", "worker"),
    ("transform.written:4", "fork server+worker"),
    ("ledger.between_renames:9", "group"),
    ("transform.written:4", "parent"),
)


def paths_of(origin: EmbeddedOrigin) -> list[str]:
    return [entry.path for entry in origin.listing() if entry.fault is None]


def kill_and_restart(
    config: Path, expected: Result, point: str, victim: str, *flags: str, earlier: Result | None = None
) -> None:
    """Kills at the point, looks at the scene, starts the same command again, and looks at the result."""
    output = config.parent / "out"
    with Meeting(point) as meeting, started(config, *flags, failpoint=meeting.failpoint) as family:
        caller = meeting.await_caller(family)
        worker = caller if caller != family.parent.pid else 0
        if point.startswith("transform.mid_write"):
            assert_half_written(output)
        assert victim == family.kill(victim, worker), f"no {victim} at {point}"
        if victim in FATAL:  # whoever stands at the point must leave by himself
            assert [] == family.outlived()
            assert [] == faults_of_scene(scene_of(output), expected, earlier=earlier)
        meeting.hang_up()
        assert_end(family, victim)

    run_to_its_end(config, *flags)
    assert [] == faults_of_result(output, expected)


def assert_end(family: Family, victim: str) -> None:
    """A killed parent is dead; a run that lost a worker or the fork server goes on to its end."""
    assert (-9 if victim in FATAL else 0) == family.wait(), family.said()
    assert [] == family.outlived()


def assert_half_written(output: Path) -> None:
    """One of the temporary files holds whole slices: it was caught between two."""
    sizes = [path.stat().st_size for path in (output / ".tmp").glob("*.part")]
    assert any(size and size % SLICE_BYTES == 0 for size in sizes), sizes


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, origin: EmbeddedOrigin) -> Result:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_to_its_end(write_job(folder, origin.base_url, paths_of(origin)[:IMAGES]))
    return result_of(folder / "out")


@pytest.mark.parametrize(("point", "victim"), SHORT)
def test_a_killed_job_continues_to_the_same_result(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed: Result, point: str, victim: str
) -> None:
    config = write_job(tmp_path, origin.base_url, paths_of(origin)[:IMAGES])

    kill_and_restart(config, undisturbed, point, victim)


def test_a_job_in_threads_continues_to_the_same_result(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed: Result
) -> None:
    config = write_job(tmp_path, origin.base_url, paths_of(origin)[:IMAGES], transform='mode = "thread"')

    kill_and_restart(config, undisturbed, "transform.mid_write:3", "parent")


@pytest.fixture(scope="module")
def late_origin() -> Iterator[EmbeddedOrigin]:
    """An origin whose last picture comes late."""
    settings = OriginSettings(
        images=IMAGES + 1,
        faults=False,
        latency_seconds=0.001,
        jitter=0.0,
        latencies={demo_paths(IMAGES + 1)[-1]: LATE_SECONDS},
    )
    with EmbeddedOrigin(settings) as server:
        yield server


@pytest.fixture(scope="module")
def undisturbed_late(tmp_path_factory: pytest.TempPathFactory, late_origin: EmbeddedOrigin) -> Result:
    folder = tmp_path_factory.mktemp("undisturbed")
    run_to_its_end(write_job(folder, late_origin.base_url, late_origin.paths()))
    return result_of(folder / "out")


def cases(*groups: tuple[Sequence[str], Sequence[str]]) -> list[tuple[str, str, str]]:
    """Points with everybody who can die there, by the mode of the transform stage; in threads all of them die."""
    both = [("process", point, victim) for points, victims in groups for point in points for victim in victims]
    return both + [("thread", point, "parent") for points, _ in groups for point in points]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "point", "victim"), cases((IMPORT, BEFORE_WORKERS), (IN_WORKER, EVERYBODY), (AT_THE_END, AFTER_WORKERS))
)
def test_the_matrix_of_one_batch(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed: Result, mode: str, point: str, victim: str
) -> None:
    config = write_job(tmp_path, origin.base_url, paths_of(origin)[:IMAGES], transform=f'mode = "{mode}"')
    flags = ("--set", "report.html=true") if point == AT_THE_END[-1] else ()

    kill_and_restart(config, undisturbed, point, victim, *flags)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "point", "victim"), cases((FIRST_BATCH, EVERYBODY), (LAST_BATCH, AFTER_WORKERS)))
def test_the_matrix_of_two_batches(
    tmp_path: Path, late_origin: EmbeddedOrigin, undisturbed_late: Result, mode: str, point: str, victim: str
) -> None:
    config = write_job(tmp_path, late_origin.base_url, late_origin.paths(), transform=f'mode = "{mode}"')

    kill_and_restart(config, undisturbed_late, point, victim)


def write_ids(folder: Path, origin: EmbeddedOrigin, version: int) -> None:
    """A list keyed by ids; in version 1, every other id has another URL."""
    paths = paths_of(origin)
    lines = [f"{number},{paths[number + IMAGES * version * (number % 2)]}" for number in range(IMAGES)]
    (folder / "list.csv").write_text("\n".join(("id,url", *lines, "none,/no/such.jpg")) + "\n")


IDS = ("--set", "job.input=list.csv", "--set", "job.id_column=id")


@pytest.fixture(scope="module")
def undisturbed_ids(tmp_path_factory: pytest.TempPathFactory, origin: EmbeddedOrigin) -> tuple[Result, Result]:
    """What a job keyed by ids makes before and after every other URL has changed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    config = write_job(folder, origin.base_url, ())
    results = []
    for version in (0, 1):
        write_ids(folder, origin, version)
        run_to_its_end(config, *IDS)
        results.append(result_of(folder / "out"))
    return results[0], results[1]


# Eight of the items have another URL: so many files get their names.
CHANGED_BATCH = tuple(point.replace("between_renames:9", "between_renames:8") for point in FIRST_BATCH[:5])


def change_and_kill(
    folder: Path, origin: EmbeddedOrigin, undisturbed: tuple[Result, Result], point: str, victim: str, mode: str
) -> None:
    config = write_job(folder, origin.base_url, (), transform=f'mode = "{mode}"')
    write_ids(folder, origin, 0)
    run_to_its_end(config, *IDS)
    write_ids(folder, origin, 1)

    kill_and_restart(config, undisturbed[1], point, victim, *IDS, earlier=undisturbed[0])


def test_a_job_that_is_killed_while_its_urls_change_continues_to_the_same_result(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed_ids: tuple[Result, Result]
) -> None:
    change_and_kill(tmp_path, origin, undisturbed_ids, "ledger.between_renames:3", "group", "process")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "point", "victim"),
    cases((IMPORT, BEFORE_WORKERS), (OF_EIGHT, EVERYBODY), ((*AT_THE_END[:-1], *CHANGED_BATCH), AFTER_WORKERS)),
)
def test_the_matrix_of_changed_urls(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed_ids: tuple[Result, Result], mode: str, point: str, victim: str
) -> None:
    change_and_kill(tmp_path, origin, undisturbed_ids, point, victim, mode)


def write_grown(folder: Path, origin: EmbeddedOrigin, version: int, mode: str = "process") -> Path:
    """Half of a job's list; in version 1, with the other half behind it."""
    paths = paths_of(origin)[:IMAGES]
    config = write_job(folder, origin.base_url, paths[: IMAGES // 2], transform=f'mode = "{mode}"')
    with (folder / "list.txt").open("a") as file:
        file.writelines(f"{path}\n" for path in paths[IMAGES // 2 :] if version)
    return config


@pytest.fixture(scope="module")
def undisturbed_grown(tmp_path_factory: pytest.TempPathFactory, origin: EmbeddedOrigin) -> tuple[Result, Result]:
    """What a job makes before and after its list has grown."""
    folder = tmp_path_factory.mktemp("undisturbed")
    results = []
    for version in (0, 1):
        run_to_its_end(write_grown(folder, origin, version))
        results.append(result_of(folder / "out"))
    return results[0], results[1]


def grow_and_kill(
    folder: Path, origin: EmbeddedOrigin, undisturbed: tuple[Result, Result], point: str, victim: str, mode: str
) -> None:
    run_to_its_end(write_grown(folder, origin, 0, mode))
    config = write_grown(folder, origin, 1, mode)

    kill_and_restart(config, undisturbed[1], point, victim, earlier=undisturbed[0])


@pytest.mark.parametrize("point", ["ledger.import_begun:1", "ledger.before_manifests_noted:1"])
def test_a_job_that_is_killed_as_its_list_has_grown_continues_to_the_same_result(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed_grown: tuple[Result, Result], point: str
) -> None:
    grow_and_kill(tmp_path, origin, undisturbed_grown, point, "group", "process")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("mode", "point", "victim"),
    cases((IMPORT, BEFORE_WORKERS), ((*FIRST_BATCH[:2], *AT_THE_END[:-1]), AFTER_WORKERS)),
)
def test_the_matrix_of_a_grown_list(
    tmp_path: Path, origin: EmbeddedOrigin, undisturbed_grown: tuple[Result, Result], mode: str, point: str, victim: str
) -> None:
    grow_and_kill(tmp_path, origin, undisturbed_grown, point, victim, mode)
