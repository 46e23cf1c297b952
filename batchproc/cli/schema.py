"""`batchproc schema`: the config's JSON Schema."""

from batchproc.cli.speech import print_json


def schema() -> None:
    """Print the JSON Schema of the config, for editors.

    Example: batchproc schema > batchproc.schema.json
    """
    from batchproc.config import json_schema
    from batchproc.transform.steps.table import steps_json_schema

    print_json(json_schema(steps_json_schema()))
