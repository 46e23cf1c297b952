"""`batchproc steps`: the image operations a job can be made of."""

from batchproc.cli.options import AsJson
from batchproc.cli.speech import print_json


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
