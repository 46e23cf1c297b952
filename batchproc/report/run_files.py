"""What a run or a bench left on disk, read in bounded time and memory: a list of ten million rows is sampled."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

from batchproc.errors import UsageError
from batchproc.sink import Layout

READ_BYTES = 6_000_000  # about 10,000 rows, a fifth of a second at most
BLOCKS = 48
SPANS_READ = 20_000

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFolder:
    """The folder of one run, and the job's output folder around it, where there is one."""

    path: Path
    output: Path | None

    @property
    def is_latest(self) -> bool:
        """Whether the manifests beside it are as this run left them, as far as can be told."""
        return self.output is not None and Layout(output=self.output).latest_path.resolve() == self.path.resolve()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Rows of a manifest: all of them, or blocks spread evenly over the file. `share`: of its bytes that are read."""

    path: Path
    share: float

    def __iter__(self) -> Iterator[Row]:
        return _rows(self.path, self.share)


def find_run(path: Path) -> RunFolder:
    """The run that a path means: a run's folder, or a job's output folder for its last run. Raises `UsageError`."""
    if (path / "run.json").is_file():
        folder = path.resolve()
        is_inside = folder.parent.name == "runs"
        return RunFolder(path=folder, output=folder.parent.parent if is_inside else None)
    latest = Layout(output=path).latest_path
    if (latest / "run.json").is_file():
        return RunFolder(path=latest.resolve(), output=path.resolve())
    what = "no such folder" if not path.exists() else "holds no run.json, and no latest/run.json"
    raise UsageError(f"{path}: {what}; give a run's folder, or a job's output folder")


def read_attempts(folder: Path) -> list[Row]:
    """The sample of attempts in spans.jsonl, in its order; empty when there is none."""
    path = folder / "spans.jsonl"
    attempts: list[Row] = []
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                row = _row(line)
                if row is not None and isinstance(row.get("spans"), list):
                    attempts.append(row)
                if len(attempts) >= SPANS_READ:
                    break
    return attempts


def manifest(path: Path) -> Rows | None:
    """A manifest's rows; None when there is no such file."""
    if not path.is_file():
        return None
    length = path.stat().st_size
    return Rows(path=path, share=min(1.0, READ_BYTES / length) if length else 1.0)


def _rows(path: Path, share: float) -> Iterator[Row]:
    with path.open("rb") as file:
        lines = file if share >= 1 else _spread(file, path.stat().st_size)
        for line in lines:
            row = _row(line)
            if row is not None:
                yield row


def _spread(file: BufferedReader, length: int) -> Iterator[bytes]:
    """The whole lines inside blocks that are spread evenly over the file."""
    size = READ_BYTES // BLOCKS
    for block in range(BLOCKS):
        start = (length - size) * block // (BLOCKS - 1)
        file.seek(start)
        lines = file.read(size).split(b"\n")
        yield from lines[1 if start else 0 : -1]


def _row(line: bytes) -> Row | None:
    """A row, or None for a line that is none: half a line must not cost the page."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return row if isinstance(row, dict) else None


def find_subject(path: Path) -> RunFolder | Path:
    """A run, or the folder of a bench. Raises `UsageError`.

    The folder itself goes first: `run.json` or `bench.json` in it. Then its `latest`, as a job's output folder and the
    `bench` folder in it have one. A job that has runs and benches means its last run; one without runs its last bench.
    """
    from batchproc.bench.bench_json import FILE_NAME  # of no use to `status`, and slow to import

    for folder in (path, path / "latest"):
        if (folder / FILE_NAME).is_file():
            return folder.resolve()
    latest_bench = path / "bench" / "latest"
    has_run = any((folder / "run.json").is_file() for folder in (path, Layout(output=path).latest_path))
    if not has_run and (latest_bench / FILE_NAME).is_file():
        return latest_bench.resolve()
    try:
        return find_run(path)
    except UsageError as error:
        if not path.exists():
            raise
        message = f"{path}: holds no run.json, no bench.json, and no latest/ with one"
        raise UsageError(f"{message}; give a run's or a bench's folder, or a job's output folder") from error
