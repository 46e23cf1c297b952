"""A config file, with what the environment and the flags say over it, becomes the checked config and its steps."""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from batchproc.cli.values import from_here
from batchproc.errors import Problem, UsageError

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.transform.steps.step import Step


def load_job(path: Path, overrides: Sequence[str]) -> "tuple[Config, tuple[Step, ...]]":
    """The config under `overrides` (KEY=VALUE) and its steps. Raises `UsageError` with all problems at once.

    A user's own steps need `[job] root`, so they are checked when it is known.
    """
    from batchproc.config import load
    from batchproc.measure.cores import usable_cores
    from batchproc.transform.steps.table import build_steps

    from_here(path)
    job = load(path, overrides=overrides, environ=os.environ, check_steps=_check_built_in_steps, cores=usable_cores())
    with redirect_stdout(sys.stderr):  # importing a step of the user's may print
        return job, build_steps(job.transform.steps, search_path=job.paths.root)


def _check_built_in_steps(tables: Sequence[Mapping[str, object]]) -> Sequence[Problem]:
    from batchproc.transform.steps.table import build_steps

    try:
        build_steps([table for table in tables if ":" not in str(table.get("op"))])
    except UsageError as error:
        return error.problems
    return ()
