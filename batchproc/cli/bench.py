"""`batchproc bench`: compares the modes of both stages."""

from typing import Annotated

import typer

from batchproc.cli.console import AsJson, ConfigPath, Settings, load_job, make_page, print_json, print_message

Quick = Annotated[bool, typer.Option("--quick", help="few rounds, few images: indicative only")]
Rounds = Annotated[int, typer.Option(min=0, metavar="N", help="rounds that count; 0 = as the config says")]
UntilDecided = Annotated[
    bool, typer.Option("--until-decided", help="look after 10, 20 and 30 rounds, stop when nothing is undecided")
]
Modes = Annotated[str, typer.Option(metavar="LIST", help="as thread,process or serial+thread,thread+process")]
Limit = Annotated[int, typer.Option(min=0, metavar="N", help="images per run at most; 0 = all")]
Alone = Annotated[bool, typer.Option("--alone", help="also each stage by itself, in every mode")]
Claims = Annotated[
    bool, typer.Option("--claims", help="judge the textbook's thirteen claims by experiments; alone: no rounds")
]
Experiments = Annotated[bool, typer.Option("--experiments", help="the same with all experiments")]
Keep = Annotated[bool, typer.Option("--keep", help="keep what every run made")]
Fresh = Annotated[bool, typer.Option("--fresh", help="do not continue an interrupted bench")]


def bench(
    config: ConfigPath,
    quick: Quick = False,
    rounds: Rounds = 0,
    until_decided: UntilDecided = False,
    modes: Modes = "",
    limit: Limit = 0,
    setting: Settings = None,
    alone: Alone = False,
    claims: Claims = False,
    experiments: Experiments = False,
    keep: Keep = False,
    fresh: Fresh = False,
    as_json: AsJson = False,
) -> None:
    """Compare the modes of both stages on real runs of a job.

    An interrupted bench is continued by the same command.

    Example: batchproc bench configs/bench.toml --quick
    """
    from batchproc.bench.command import run_bench
    from batchproc.bench.spec import BenchOptions, Load

    options = BenchOptions(
        rounds=rounds,
        quick=quick,
        until_decided=until_decided,
        modes=tuple(filter(None, modes.split(","))),
        limit=limit,
        alone=alone,
        keep=keep,
        fresh=fresh,
    )
    load: Load = lambda more: load_job(config, [*(setting or ()), *more])  # noqa: E731
    if claims or experiments:
        from batchproc.lab.laboratory import run_with_lab

        result = run_with_lab(load, options, print_message, everything=experiments)
    else:
        result = run_bench(load, options, print_message)
    if as_json:
        from batchproc.bench.bench_json import to_json

        print_json(to_json(result.bench))
    else:
        from batchproc.report.bench_terminal import summarise_bench

        print(summarise_bench(result.bench, result.folder))
    if result.with_page:
        make_page(result.folder, announce=not as_json)
