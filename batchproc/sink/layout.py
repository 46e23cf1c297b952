"""Where the files of a job are: the folder `outputs/<job>`, its preparation, the folders of its runs, and its images.

An image has a temporary name first, then `images/ab/<key><suffix>`, which depends on the key alone. Before anything is
touched: can this job write its files here, and will its ledger be safe here?
"""

import contextlib
import errno
import hashlib
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from batchproc.errors import Problem, UsageError
from batchproc.measure import GAUGES_PREFIX
from batchproc.model import original_name
from batchproc.sink.atomic import point_atomically, sweep_temporary, sync_folder

RESERVE_NAME = "ballast"  # the name on disk, which jobs have already
OWNER_NAME = "owner.json"  # in the folder of a job whose shards go to a bucket: which one it is
YOUNG_NANOSECONDS = 2_000_000_000  # more than the coarsest clock of a file system
TEMPORARY_NAME = re.compile(r"[0-9a-f]{32}\.\d+\.\d+\.part")  # as a worker names what it writes: key, pid, number
ORIGINAL_NAME = re.compile(r"([0-9a-f]{64})\.[a-z0-9]{1,8}")
IMAGE_NAME = re.compile(r"([0-9a-f]{32})(\.[a-z0-9]{1,8})")


class ImageFolder:
    """The folder `images` of one job and its `.tmp`. Used by one thread at a time: the ledger's writer.

    `power`: `sync` makes names survive a power cut; else it does nothing.
    """

    def __init__(self, output: Path, *, power: bool = False) -> None:
        self._output = str(output)
        self.temporary = f"{output}/.tmp"
        self._power = power
        self._made: set[str] = set()  # folders known to exist
        self._touched: set[str] = set()  # folders with names that a power cut could take back

    @property
    def is_durable(self) -> bool:
        """Whether names are to survive a power cut."""
        return self._power

    def file_name(self, key_hex: str, suffix: str) -> str:
        """The path of an output image relative to the output folder."""
        return f"images/{key_hex[:2]}/{key_hex}{suffix}"

    def final_path(self, key_hex: str, suffix: str) -> Path:
        """Where an output image belongs."""
        return Path(self.final_name(key_hex, suffix))

    def final_name(self, key_hex: str, suffix: str) -> str:
        """The same as text, which takes a fifth of the time."""
        return f"{self._output}/images/{key_hex[:2]}/{key_hex}{suffix}"

    def temporary_name(self, path: str) -> str:
        """The name of a temporary file. Raises ValueError for a file that is not directly in `.tmp`."""
        folder, _, name = path.rpartition("/")
        if folder != self.temporary:
            raise ValueError(f"{path}: a temporary file belongs into {self.temporary}")
        return name

    def temporary_path(self, name: str) -> Path:
        """Where a temporary file is."""
        return Path(self.temporary, name)

    def temporary_names(self) -> Iterator[str]:
        """The names of the temporary files that exist. What else lies there is not ours."""
        with os.scandir(self.temporary) as entries:
            for entry in entries:
                if TEMPORARY_NAME.fullmatch(entry.name) and not entry.is_dir(follow_symlinks=False):
                    yield entry.name

    def final_names(self) -> Iterator[tuple[str, str]]:
        """Key and suffix of every output image's file that exists, in no order."""
        return ((name[1], name[2]) for name, _ in self._files("images", IMAGE_NAME))

    def original_files(self) -> Iterator[tuple[str, str]]:
        """The hash and the path of every original that was kept."""
        return ((name[1], path) for name, path in self._files("originals", ORIGINAL_NAME))

    def _files(self, kind: str, form: re.Pattern[str]) -> Iterator[tuple[re.Match[str], str]]:
        """The names and paths of files. What else lies there is not ours."""
        for folder in Path(self._output, kind).glob("[0-9a-f][0-9a-f]"):
            with os.scandir(folder) as entries:
                for entry in entries:
                    name = form.fullmatch(entry.name)
                    if name and name[1][:2] == folder.name and not entry.is_dir(follow_symlinks=False):
                        yield name, entry.path

    def names_in(self, prefix: str) -> list[str]:
        """The names of all files in the folder of the keys that begin with these two digits."""
        try:
            return os.listdir(f"{self._output}/images/{prefix}")  # noqa: PTH208  # names, not paths
        except FileNotFoundError:
            return []

    def original_name(self, source_sha256: str, original_format: str) -> str:
        """The path of the original relative to the output folder; empty where it was not kept."""
        name = original_name(source_sha256, original_format)
        return name if os.path.isfile(f"{self._output}/{name}") else ""  # noqa: PTH113  # per row

    def shard_path(self, name: str) -> Path | None:
        """Where a shard of this name is; None for those of a job that has a bucket for its output."""
        return None if Path(self._output, OWNER_NAME).exists() else Path(self._output, name)

    def snapshot(self) -> str:
        """What changes whenever a file is added or removed; empty while the last such change is too fresh to tell.

        A folder's time changes with its names. Within a tick of the system's clock it may change unseen.
        """
        digest, newest = hashlib.blake2b(digest_size=16), 0
        folders = [*Path(self._output, "images").glob("[0-9a-f][0-9a-f]"), *Path(self._output).glob("shards")]
        for folder, status in sorted((folder.name, folder.stat()) for folder in folders):
            digest.update(f"{folder} {status.st_ino} {status.st_mtime_ns}\n".encode())
            newest = max(newest, status.st_mtime_ns)
        return digest.hexdigest() if newest < time.time_ns() - YOUNG_NANOSECONDS else ""

    def place(self, name: str, key_hex: str, suffix: str) -> None:
        """Gives a temporary file its final name; what stood there, a link included, is replaced. Raises OSError."""
        folder = f"{self._output}/images/{key_hex[:2]}"
        if folder not in self._made:
            Path(folder).mkdir(exist_ok=True)  # not its parents: an output that vanished must not rise from the dead
            self._made.add(folder)
            self._touched.add(f"{self._output}/images")
        os.replace(f"{self.temporary}/{name}", f"{folder}/{key_hex}{suffix}")  # noqa: PTH105  # 10 us less per image
        self._touched.add(folder)

    def remove(self, key_hex: str, suffix: str) -> None:
        """Deletes an output image's file, if it is there. A folder of that name is not ours and stays."""
        with contextlib.suppress(FileNotFoundError, IsADirectoryError):
            os.unlink(self.final_name(key_hex, suffix))  # noqa: PTH108
            self._touched.add(f"{self._output}/images/{key_hex[:2]}")

    def sync(self) -> None:
        """With `power`: returns when the names given since the last call are on the disk."""
        if self._power:
            for folder in sorted(self._touched):
                sync_folder(Path(folder))
        self._touched.clear()


ROBOTS_PREFIX = "batchproc-robots-"  # of a folder, which a killed run leaves
RUN_NAME = re.compile(r"(?a:\d{8}T\d{6}Z)(?:-(\d+))?")


class Layout:
    """The paths of one job. `output` is absolute."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.ledger_path = output / "batchproc.db"
        self.lock_path = output / "lock"
        self.images_folder = output / "images"
        self.temporary_folder = output / ".tmp"
        self.reserve_path = self.temporary_folder / RESERVE_NAME
        self.metadata_path = output / "metadata.jsonl"
        self.metadata_table_path = output / "metadata.parquet"
        self.failures_path = output / "failures.jsonl"
        self.shard_manifest_path = output / "manifest.json"
        self.data_card_path = output / "README.md"
        self.runs_folder = output / "runs"
        self.latest_path = output / "latest"
        self.report_path = output / "report.html"

    def prepare(self) -> None:
        """Makes the folders. Raises `UsageError` with every reason why this job cannot write here; comes first."""
        folders = (self.images_folder, self.temporary_folder, self.runs_folder)
        originals = self.output / "originals"
        inside = (part for folder in (self.images_folder, originals) for part in folder.glob("[0-9a-f][0-9a-f]"))
        parts = chain([originals], inside)  # looked for once the output is known to be a folder
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


MOUNTS_PATH = Path("/proc/self/mountinfo")
WHERE = "[job] output"
LEAST_FREE_BYTES = 16_000_000  # the ledger, its reserve file, a report, and some images
LEAST_FREE_INODES = 300  # 256 folders of images, and the files of a run
# SQLite's WAL needs memory shared between processes, and `flock` a lock that everybody sees: no network file system
# promises both (https://sqlite.org/wal.html, section 1). FUSE may be anything: those known to be remote are listed.
NETWORK_FILE_SYSTEMS = frozenset(
    {
        "9p", "afs", "beegfs", "ceph", "cifs", "coda", "fuse.cephfs", "fuse.gcsfuse", "fuse.glusterfs", "fuse.juicefs",
        "fuse.rclone", "fuse.s3fs", "fuse.sshfs", "glusterfs", "gpfs", "lustre", "ncpfs", "nfs", "nfs4", "orangefs",
        "pvfs2", "smb2", "smb3", "smbfs",
    }
)  # fmt: skip


def find_problems(
    output: Path, folders: Sequence[Path], parts: Iterable[Path] = (), links: Sequence[Path] = ()
) -> list[Problem]:
    """Makes `output` and `folders`; returns the reasons why the job cannot write there.

    `parts` are folders inside of them that are there; `links` are the paths of the job's symbolic links, whether they
    are there yet or not.
    """
    if problem := _find_obstacle(output):
        return [problem]
    file_system = network_file_system(output)
    if file_system:
        return [
            _problem(
                f"{output} is on a network file system ({file_system}), where the ledger is not safe. "
                "Choose a folder on a local disk."
            )
        ]
    if problem := _make_writable(output):
        return [problem]  # what is in it could say no more
    for checks in (
        map(_find_link, (*folders, *parts)),
        (*map(_make_writable, folders), *map(_find_standing, links)),
    ):
        if found := [problem for problem in checks if problem]:
            return found
    return [*_find_other_devices(output, folders), *_find_shortage(output)]


def foresee_problems(output: Path, folders: Sequence[Path], links: Sequence[Path] = ()) -> list[Problem]:
    """The reasons, as far as they can be seen without touching anything, why a job could not write to `output`."""
    if problem := _find_obstacle(output):
        return [problem]
    if found := [problem for problem in (*map(_find_link, folders), *map(_find_standing, links)) if problem]:
        return found
    there = next(part for part in (output, *output.parents) if part.is_dir())
    if not os.access(there, os.W_OK | os.X_OK):
        return [_problem(f"{there} cannot be written: {os.strerror(errno.EACCES)}.")]
    return _find_shortage(there)


def network_file_system(path: Path, mounts_path: Path = MOUNTS_PATH) -> str:
    """The type of the network file system that `path` is (or will be) on; empty for a local one, or where unknown.

    Reads `mounts_path` as proc_pid_mountinfo(5) describes it: the mount point is field 5, the type follows " - ".
    """
    try:
        lines = mounts_path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return ""
    place = path.resolve()
    best, kind = -1, ""
    for line in lines:
        mount, _, tail = line.partition(" - ")
        point = Path(_unescape(mount.split(" ")[4]))
        # ">=": of two mounts on one point the later one covers the earlier
        if (place == point or point in place.parents) and len(point.parts) >= best:
            best, kind = len(point.parts), tail.split(" ")[0]
    return kind if kind in NETWORK_FILE_SYSTEMS else ""


def _unescape(text: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)


def _problem(message: str) -> Problem:
    return Problem(where=WHERE, message=message)


def _find_obstacle(output: Path) -> Problem | None:
    """The first part of the path that is there and is no folder, or cannot be looked for."""
    for part in (output, *output.parents):
        try:
            if part.is_dir():
                return None
            if part.exists() or part.is_symlink():
                return _problem(f"{part} is not a folder. Remove it, or choose another output.")
        except OSError as error:  # a name that is too long, a folder that may not be entered
            return _problem(f"{part} cannot be used: {os.strerror(error.errno or 0)}. Choose another output.")
    return None


def _make_writable(folder: Path) -> Problem | None:
    """Makes the folder and a file in it, the only test that permissions, quotas and read-only mounts all pass."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return _problem(f"{folder} cannot be written: {os.strerror(error.errno or 0)}.")


def _find_link(folder: Path) -> Problem | None:
    """A folder of the job that leads elsewhere: what is there is somebody else's to delete."""
    if not folder.is_symlink():
        return None
    message = f"{folder} is a link, and the job writes and deletes in it. Remove it, or choose another output."
    return _problem(message)


def _find_standing(link: Path) -> Problem | None:
    """What a link cannot replace, or must not: the user put it there."""
    if link.is_symlink() or not link.exists():
        return None
    kind = "a folder" if link.is_dir() else "a file"
    message = f"{link} is {kind} of its own, where the job's link belongs. Move it away, or choose another output."
    return _problem(message)


def _find_shortage(output: Path) -> list[Problem]:
    """A job that cannot even keep its ledger should not begin. File systems without a table of inodes count 0."""
    room = os.statvfs(output)
    free_bytes = room.f_bavail * room.f_frsize
    advice = "Make room, or choose an output on another disk."
    problems = []
    if free_bytes < LEAST_FREE_BYTES:
        need = f"at least {LEAST_FREE_BYTES / 1e6:.0f} MB are needed"
        message = f"only {free_bytes / 1e6:.1f} MB are free at {output}, {need}. {advice}"
        problems.append(_problem(message))
    if room.f_files and room.f_favail < LEAST_FREE_INODES:
        message = f"only {room.f_favail} inodes are free at {output}, at least {LEAST_FREE_INODES} are needed. {advice}"
        problems.append(_problem(message))
    return problems


def _find_other_devices(output: Path, folders: Sequence[Path]) -> list[Problem]:
    """A rename is atomic on one device only."""
    device = output.stat().st_dev
    return [
        _problem(f"{folder} is on another file system than {output}: both must be on the same one.")
        for folder in folders
        if folder.stat().st_dev != device
    ]
