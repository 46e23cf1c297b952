"""Options that several commands share."""

from pathlib import Path
from typing import Annotated, Optional

import typer

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="the job's TOML file")]
Settings = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time
    typer.Option("--set", metavar="KEY=VALUE", help="any config key, as download.per_host=16; repeatable"),
]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON to stdout")]
