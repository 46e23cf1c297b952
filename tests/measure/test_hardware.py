"""The usable cores, from fake cgroup trees."""

import multiprocessing
import os
from pathlib import Path

import pytest

from batchproc.measure.processes import describe_machine, quota_cores, start_method, usable_cores


def _tree(folder: Path, membership: str, files: dict[str, str]) -> tuple[Path, Path]:
    cgroup_of_self = folder / "self"
    cgroup_of_self.write_text(membership)
    for name, text in files.items():
        path = folder / "mount" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return cgroup_of_self, folder / "mount"


V1 = {"cpu,cpuacct/job/cpu.cfs_quota_us": "150000\n", "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}


@pytest.mark.parametrize(
    ("expected", "membership", "files"),
    [
        pytest.param(2, "0::/job\n", {"job/cpu.max": "150000 100000\n"}, id="v2 rounds up"),
        pytest.param(1, "0::/job\n", {"job/cpu.max": "5000 100000\n"}, id="v2 never below one"),
        pytest.param(None, "0::/job\n", {"job/cpu.max": "max 100000\n"}, id="v2 no quota"),
        pytest.param(3, "0::/a/b\n", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, id="v2 from above"),
        pytest.param(1, "0::/a/b\n", {"a/cpu.max": "90000 100000", "a/b/cpu.max": "800000 100000"}, id="v2 smallest"),
        pytest.param(4, "0::/../../host/path\n", {"cpu.max": "400000 100000"}, id="v2 namespace shows the root only"),
        pytest.param(2, "4:cpu,cpuacct:/job\n0::/\n", V1, id="v1"),
        pytest.param(
            None, "1:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, id="v1 no quota"
        ),
        pytest.param(None, "9:cpuset:/job\n", {"cpuset/job/cpu.max": "100000 100000"}, id="other controllers"),
        pytest.param(None, "0::/job\n", {"job/cpu.max": "0 0\n"}, id="nonsense"),
        pytest.param(None, "", {}, id="no cgroups"),
    ],
)
def test_quota_is_read_from_the_cgroup_tree(
    tmp_path: Path, expected: int | None, membership: str, files: dict[str, str]
) -> None:
    cgroup_of_self, mount = _tree(tmp_path, membership, files)

    assert expected == quota_cores(cgroup_of_self, mount)


def test_missing_proc_means_no_quota(tmp_path: Path) -> None:
    assert quota_cores(tmp_path / "nowhere", tmp_path) is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_affinity_limits_the_cores() -> None:
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(before)})
    try:
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, before)


def test_the_start_method_is_the_one_that_multiprocessing_has() -> None:
    has_fork_server = "forkserver" in multiprocessing.get_all_start_methods()

    assert ("forkserver" if has_fork_server else "spawn") == start_method()


def test_libraries_are_looked_at_only_where_they_are_wanted() -> None:
    assert {} == describe_machine(with_libraries=False)["libraries"]
    assert {"pillow", "zlib"} <= describe_machine()["libraries"].keys()
