"""What a path given to `batchproc report` is: a run or a bench, by itself or as the last one of a job."""

from pathlib import Path

from batchproc.bench.bench_json import FILE_NAME
from batchproc.errors import UsageError
from batchproc.report.run_files import RunFolder, find_run
from batchproc.sink import Layout


def find_subject(path: Path) -> RunFolder | Path:
    """A run, or the folder of a bench. Raises `UsageError`.

    The folder itself goes first: `run.json` or `bench.json` in it. Then its `latest`, as a job's output folder and the
    `bench` folder in it have one. A job that has runs and benches means its last run; one without runs its last bench.
    """
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
