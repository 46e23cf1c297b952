"""`batchproc init`: a starter job."""

from pathlib import Path
from typing import Annotated

import typer

from batchproc.cli.speech import say
from batchproc.cli.values import from_here


def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path()) -> None:
    """Write a commented starter config and an input list; never overwrites.

    Example: batchproc init myjob
    """
    from batchproc.starter import write_starter

    from_here(folder)
    for path in write_starter(folder):
        print(f"wrote {path}")
    say(f"next: put URLs into the list, then batchproc run {folder / 'job.toml'}")
