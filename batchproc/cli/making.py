"""The commands that make files without a run: `batchproc init`, `report` and `rebuild`."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from batchproc.cli.loading import load_job
from batchproc.cli.options import ConfigPath, Settings
from batchproc.cli.run import Output
from batchproc.cli.speech import say
from batchproc.cli.values import from_here, read_folder
from batchproc.errors import DiskError, UsageError

STARTERS = ("job.toml", "urls.txt")  # beside the package's modules, in `templates`

ReportPath = Annotated[
    Path, typer.Argument(metavar="PATH", help="a run's or a bench's folder, or a job's output folder")
]
SamePlan = Annotated[
    bool, typer.Option("--same-plan", help="this config made the images; asked for where no run.json proves it")
]


def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path()) -> None:
    """Write a commented starter config and an input list; never overwrites.

    Example: batchproc init myjob
    """
    from_here(folder)
    for path in _write_starter(folder):
        print(f"wrote {path}")
    say(f"next: put URLs into the list, then batchproc run {folder / 'job.toml'}")


def _write_starter(folder: Path) -> list[Path]:
    """Writes the starter files into `folder`, made on demand. Raises `UsageError` when one is there, or on OSError."""
    from importlib.resources import files

    paths = [folder / name for name in STARTERS]
    standing = [str(path) for path in paths if path.exists()]
    if standing:
        raise UsageError(f"{', '.join(standing)}: already there, and init never overwrites; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_bytes((files("batchproc") / "templates" / path.name).read_bytes())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    return paths


def report(path: ReportPath) -> None:
    """Make the HTML report again, of a run, a bench, or a job's output folder (its last run, else its last bench).

    Example: batchproc report outputs/demo
    """
    from batchproc.report.html import make_report

    from_here(path)
    try:
        print(make_report(path))
    except OSError as error:
        raise DiskError(f"{error.filename or path}: {error.strerror}. The page before it stays.") from error


def rebuild(config: ConfigPath, output: Output = None, setting: Settings = None, same_plan: SamePlan = False) -> None:
    """Make a damaged ledger anew from metadata.jsonl and the files it names, hashes checked; fetches nothing.

    Example: batchproc rebuild configs/nightly.toml
    """
    folder = None if output is None else read_folder("--output", output)
    job, steps = load_job(config, [*([f"job.output={folder}"] if folder else []), *(setting or ())])
    from batchproc.pipeline.rebuild import describe_rebuilt, rebuild_ledger, summarise_rebuilt

    rebuilt = rebuild_ledger(job, steps, same_plan=same_plan, tell=say)
    for line in describe_rebuilt(rebuilt):
        say(line)
    words = ["batchproc", "run", str(config), *(["--output", folder] if folder else [])]
    print(summarise_rebuilt(rebuilt, shlex.join([*words, *(f"--set={one}" for one in setting or ())])))
