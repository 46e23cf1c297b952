"""`batchproc status`: what a job's ledger holds."""

from batchproc.cli.loading import load_job
from batchproc.cli.options import AsJson, ConfigPath, Settings
from batchproc.cli.speech import print_json


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
