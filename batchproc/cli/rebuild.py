"""`batchproc rebuild`: makes a damaged ledger anew."""

import shlex
from typing import Annotated

import typer

from batchproc.cli.loading import load_job
from batchproc.cli.options import ConfigPath, Settings
from batchproc.cli.run import Output
from batchproc.cli.speech import say
from batchproc.cli.values import read_folder

SamePlan = Annotated[
    bool, typer.Option("--same-plan", help="this config made the images; asked for where no run.json proves it")
]


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
