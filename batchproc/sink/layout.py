"""Where the files of a job are: the folder `outputs/<job>`, its preparation, and the folders of its runs."""

import re
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import Struct

from batchproc.errors import UsageError
from batchproc.measure import GAUGES_PREFIX
from batchproc.sink.atomic import point_atomically, sweep_temporary
from batchproc.sink.images import RESERVE_NAME
from batchproc.sink.preflight import find_problems, foresee_problems

ROBOTS_PREFIX = "batchproc-robots-"  # of a folder, which a killed run leaves
RUN_NAME = re.compile(r"(?a:\d{8}T\d{6}Z)(?:-(\d+))?")


class Layout(Struct, frozen=True, kw_only=True):
    """The paths of one job. `output` is absolute."""

    output: Path

    @property
    def ledger_path(self) -> Path:
        return self.output / "batchproc.db"

    @property
    def lock_path(self) -> Path:
        return self.output / "lock"

    @property
    def images_folder(self) -> Path:
        return self.output / "images"

    @property
    def temporary_folder(self) -> Path:
        return self.output / ".tmp"

    @property
    def reserve_path(self) -> Path:
        return self.temporary_folder / RESERVE_NAME

    @property
    def metadata_table_path(self) -> Path:
        return self.output / "metadata.parquet"

    @property
    def metadata_path(self) -> Path:
        return self.output / "metadata.jsonl"

    @property
    def shard_manifest_path(self) -> Path:
        return self.output / "manifest.json"

    @property
    def failures_path(self) -> Path:
        return self.output / "failures.jsonl"

    @property
    def runs_folder(self) -> Path:
        return self.output / "runs"

    @property
    def latest_path(self) -> Path:
        return self.output / "latest"

    @property
    def data_card_path(self) -> Path:
        return self.output / "README.md"

    @property
    def report_path(self) -> Path:
        return self.output / "report.html"

    def prepare(self) -> None:
        """Makes the folders. Raises `UsageError` with every reason why this job cannot write here; comes first."""
        folders = (self.images_folder, self.temporary_folder, self.runs_folder)
        originals = self.output / "originals"
        kept = [originals, *originals.glob("[0-9a-f][0-9a-f]")] if originals.exists() else []
        parts = [*self.images_folder.glob("[0-9a-f][0-9a-f]"), *kept]
        problems = find_problems(self.output, folders, parts, (self.latest_path, self.report_path))
        if problems:
            raise UsageError(problems)

    def check(self) -> None:
        """Raises `UsageError` as `prepare` would, as far as that can be seen without touching anything."""
        folders = (self.images_folder, self.temporary_folder, self.runs_folder)
        if problems := foresee_problems(self.output, folders, (self.latest_path, self.report_path)):
            raise UsageError(problems)

    def sweep(self) -> None:
        """Removes what killed processes left half-written, beside the manifests and in the folders of the runs.

        Needs the run lock, and comes before this process writes anything: a file under its own pid is of an earlier
        process, as in a container, where the same few pids come again and again.
        """
        for folder in (self.output, *self.run_folders()):
            sweep_temporary(folder, own=True)
        for gauges in self.temporary_folder.glob(f"{GAUGES_PREFIX}*"):
            gauges.unlink(missing_ok=True)
        for robots in self.temporary_folder.glob(f"{ROBOTS_PREFIX}*"):
            shutil.rmtree(robots, ignore_errors=True)

    def robots_folder(self) -> AbstractContextManager[str]:
        """A folder where the download processes of a run share what they know of robots.txt; it goes with the block."""
        return TemporaryDirectory(prefix=ROBOTS_PREFIX, dir=self.temporary_folder, ignore_cleanup_errors=True)

    def new_run_folder(self, now: datetime) -> Path:
        """Makes the folder of a run that starts `now`, named by its UTC second; `-2` and up for more in one second."""
        name = now.astimezone(UTC).strftime("%Y%m%dT%H%M%SZ")
        folder, number = self.runs_folder / name, 1
        while not _make(folder):
            number += 1
            folder = self.runs_folder / f"{name}-{number}"
        return folder

    def point_latest(self, run_folder: Path) -> None:
        """Makes `latest` point to a run's folder, once that is complete."""
        point_atomically(self.latest_path, run_folder)

    def point_report(self, report: Path) -> None:
        """Makes `report.html` point to the last report made."""
        point_atomically(self.report_path, report)

    def run_folders(self) -> Sequence[Path]:
        """The folders of the runs, oldest first. Whatever else lies beside them is not ours."""
        if not self.runs_folder.is_dir():
            return []
        folders = [path for path in self.runs_folder.iterdir() if RUN_NAME.fullmatch(path.name)]
        return sorted((path for path in folders if path.is_dir() and not path.is_symlink()), key=_order)

    def prune_runs(self, keep: int) -> int:
        """Deletes the oldest runs' folders until `keep` are left; returns how many went.

        Those that `latest` and `report.html` point to stay.
        """
        pointed = {self.latest_path.resolve(), self.report_path.resolve().parent}
        folders = self.run_folders()
        doomed = [folder for folder in folders[: max(0, len(folders) - keep)] if folder.resolve() not in pointed]
        for folder in doomed:
            shutil.rmtree(folder)
        return len(doomed)


def _order(folder: Path) -> tuple[str, int]:
    name, _, number = folder.name.partition("-")
    return name, int(number or 1)


def _make(folder: Path) -> bool:
    """Makes a folder; returns False if it is there already."""
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return False
    return True
