"""`batchproc check`: what a config resolves to."""

from batchproc.cli.loading import load_job
from batchproc.cli.options import AsJson, ConfigPath, Settings
from batchproc.cli.speech import print_json


def check(config: ConfigPath, setting: Settings = None, as_json: AsJson = False) -> None:
    """Validate a config, show the plan it resolves to, and find what a run would refuse; touches nothing.

    Example: batchproc check configs/demo.toml
    """
    job, steps = load_job(config, setting or ())
    from batchproc.pipeline.preview import refuse
    from batchproc.report.plan import describe_plan, missing_files, plan_facts

    facts = plan_facts(job)
    facts["missing_files"] = missing_files(job)
    if as_json:
        print_json(facts)
    else:
        print(describe_plan(facts))
    refuse(job, steps)
