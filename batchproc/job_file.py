"""A job from its TOML file, checked; and the start of its workers ahead of all else that a run imports."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from msgspec import Struct

from batchproc.config import Config
from batchproc.config import load as load_config
from batchproc.errors import Problem, UsageError
from batchproc.measure.processes import usable_cores
from batchproc.transform.plan import build_steps
from batchproc.transform.plan import worker_modules as transform_modules
from batchproc.transform.steps.step import Step

FLAGS = {
    "download_mode": "download.mode",
    "transform_mode": "transform.mode",
    "download_workers": "download.workers",
    "transform_workers": "transform.workers",
    "max_duration": "job.max_duration",
    "output": "job.output",
}


class Job(Struct, frozen=True, kw_only=True):
    """A checked config with its steps, ready to be run. Made by `load`."""

    config: Config
    steps: tuple[Step, ...]

    @property
    def output(self) -> Path:
        """The folder of images, manifests and runs; absolute."""
        return self.config.paths.output


def load(config: str | os.PathLike[str], *, settings: Sequence[str] = (), **flags: object) -> Job:
    """A job from its TOML file. Raises `UsageError` with every problem at once.

    >>> import batchproc
    >>> job = batchproc.load("job.toml", transform_mode="thread", settings=["download.retries=1"])
    >>> job.config.transform.mode, job.config.download.retries
    ('thread', 1)

    `settings` are overrides as `--set` takes them ("download.retries=2"), `flags` those of `run` that have a key in
    the config: download_mode, transform_mode, download_workers, transform_workers, max_duration, output.
    """
    unknown = sorted(set(flags) - set(FLAGS))
    if unknown:
        raise TypeError(f"{', '.join(unknown)}: no such setting; known: {', '.join(FLAGS)}")
    given = {name: value for name, value in flags.items() if value is not None}
    if "output" in given:
        given["output"] = Path(str(given["output"])).absolute()
    overrides = [*(f"{FLAGS[name]}={value}" for name, value in given.items()), *settings]
    found = load_config(
        Path(config), overrides=overrides, environ=os.environ, check_steps=_check_built_in, cores=usable_cores()
    )
    return Job(config=found, steps=build_steps(found.transform.steps, search_path=found.paths.root))


def warm_up(config: Config) -> None:
    """Starts the fork server ahead of its first worker, if there will be one: its imports take longer than all else
    that comes before."""
    if "process" in (config.download.first_mode, config.transform.first_mode):
        from batchproc.executors import start_context

        start_context(worker_modules(config))


def worker_modules(config: Config) -> tuple[str, ...]:
    """What the fork server imports once for all workers: of downloads only where processes begin with some."""
    downloads = ("batchproc.download.fetch",) if config.download.first_mode == "process" else ()
    return (*downloads, *transform_modules(str(table.get("op")) for table in config.transform.steps))


def _check_built_in(tables: Sequence[Mapping[str, object]]) -> Sequence[Problem]:
    """Of steps that need no import from the job's folder."""
    try:
        build_steps([table for table in tables if ":" not in str(table.get("op"))])
    except UsageError as error:
        return error.problems
    return ()
