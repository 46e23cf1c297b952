"""Before anything is touched: can this job write its files here, and will its ledger be safe here?"""

import errno
import os
import re
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

from batchproc.errors import Problem

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
            Problem(
                where=WHERE,
                message=f"{output} is on a network file system ({file_system}), where the ledger is not safe. "
                "Choose a folder on a local disk.",
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
        return [Problem(where=WHERE, message=f"{there} cannot be written: {os.strerror(errno.EACCES)}.")]
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


def _find_obstacle(output: Path) -> Problem | None:
    """The first part of the path that is there and is no folder."""
    for part in (output, *output.parents):
        if part.is_dir():
            return None
        if part.exists() or part.is_symlink():
            return Problem(where=WHERE, message=f"{part} is not a folder. Remove it, or choose another output.")
    return None


def _make_writable(folder: Path) -> Problem | None:
    """Makes the folder and a file in it, the only test that permissions, quotas and read-only mounts all pass."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return Problem(where=WHERE, message=f"{folder} cannot be written: {os.strerror(error.errno or 0)}.")


def _find_link(folder: Path) -> Problem | None:
    """A folder of the job that leads elsewhere: what is there is somebody else's to delete."""
    if not folder.is_symlink():
        return None
    message = f"{folder} is a link, and the job writes and deletes in it. Remove it, or choose another output."
    return Problem(where=WHERE, message=message)


def _find_standing(link: Path) -> Problem | None:
    """What a link cannot replace, or must not: the user put it there."""
    if link.is_symlink() or not link.exists():
        return None
    kind = "a folder" if link.is_dir() else "a file"
    message = f"{link} is {kind} of its own, where the job's link belongs. Move it away, or choose another output."
    return Problem(where=WHERE, message=message)


def _find_shortage(output: Path) -> list[Problem]:
    """A job that cannot even keep its ledger should not begin. File systems without a table of inodes count 0."""
    room = os.statvfs(output)
    free_bytes = room.f_bavail * room.f_frsize
    advice = "Make room, or choose an output on another disk."
    problems = []
    if free_bytes < LEAST_FREE_BYTES:
        need = f"at least {LEAST_FREE_BYTES / 1e6:.0f} MB are needed"
        message = f"only {free_bytes / 1e6:.1f} MB are free at {output}, {need}. {advice}"
        problems.append(Problem(where=WHERE, message=message))
    if room.f_files and room.f_favail < LEAST_FREE_INODES:
        message = f"only {room.f_favail} inodes are free at {output}, at least {LEAST_FREE_INODES} are needed. {advice}"
        problems.append(Problem(where=WHERE, message=message))
    return problems


def _find_other_devices(output: Path, folders: Sequence[Path]) -> list[Problem]:
    """A rename is atomic on one device only."""
    device = output.stat().st_dev
    return [
        Problem(where=WHERE, message=f"{folder} is on another file system than {output}: both must be on the same one.")
        for folder in folders
        if folder.stat().st_dev != device
    ]
