"""A config file, with what the environment and the flags say over it, becomes the checked config and its steps."""

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from batchproc.cli.values import from_here

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.transform.steps.step import Step


def load_job(path: Path, overrides: Sequence[str]) -> "tuple[Config, tuple[Step, ...]]":
    """The config under `overrides` (KEY=VALUE) and its steps. Raises `UsageError` with all problems at once."""
    from batchproc.api import load

    from_here(path)
    with redirect_stdout(sys.stderr):  # importing a step of the user's may print
        job = load(path, settings=overrides)
    return job.config, job.steps
