"""The commands that only look: `batchproc check`, `status`, `steps` and `schema`."""

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


def status(config: ConfigPath, setting: Settings = None, as_json: AsJson = False) -> None:
    """Show what the job's ledger holds: done, pending, failed by code, the last runs; changes nothing.

    Example: batchproc status configs/demo.toml
    """
    job, _ = load_job(config, setting or ())
    from batchproc.report.status import describe_status, read_status

    found = read_status(job)
    if as_json:
        print_json(found.to_json())
    else:
        print(describe_status(found))


def steps(as_json: AsJson = False) -> None:
    """List the steps with their keys and an example of each.

    Example: batchproc steps
    """
    from batchproc.report.plan import describe_step
    from batchproc.transform.steps.table import describe_steps, steps_json_schema

    if as_json:
        print_json(steps_json_schema())
    else:
        print("\n\n".join(describe_step(step) for step in describe_steps()))


def schema() -> None:
    """Print the JSON Schema of the config, for editors.

    Example: batchproc schema > batchproc.schema.json
    """
    from batchproc.config import json_schema
    from batchproc.transform.steps.table import steps_json_schema

    print_json(json_schema(steps_json_schema()))
