"""`run --dry-run` and `check`: read the list, count the work, find what a run would refuse; touch nothing."""

from batchproc.config import Config
from batchproc.ledger import LedgerView
from batchproc.pipeline import assembly
from batchproc.pipeline.certificates import check_certificates
from batchproc.pipeline.intake import refuse_lost_ledger, refused_plan
from batchproc.pipeline.job_list import JobList
from batchproc.sink import Layout
from batchproc.transform.plan_fingerprint import fingerprint, keeps_images, plan_settings
from batchproc.transform.steps.step import Step


def refuse(config: Config, steps: tuple[Step, ...], *, any_plan: bool = False) -> None:
    """Raises what a run would end with before any work, in the same words: `UsageError` or `DiskError`.

    `any_plan`: images of another plan would be made again. Not told are what only the attempt can show (a quota), and
    a lock that another run holds: that passes.
    """
    JobList.of(config, config.job.base_url).check()
    assembly.check_layout(config)
    check_certificates(config)
    layout = Layout(output=config.paths.output)
    layout.check()
    refuse_lost_ledger(layout)
    if any_plan or not layout.ledger_path.exists():
        return
    transform = assembly.transform_settings(config, steps)
    settings = plan_settings(transform)
    with LedgerView.open_view(layout.ledger_path) as ledger:
        change = ledger.compare_plan(fingerprint(transform))
    if change is not None and not keeps_images(change.settings, settings):
        raise refused_plan(config, change, settings)


def preview(config: Config) -> str:
    """What a run would find. Raises `UsageError` for a list that cannot be read."""
    keys: set[bytes] = set()
    lines = bad = 0
    base_url = config.job.base_url or ("http://origin.invalid/" if config.origin else "")
    for item in JobList.of(config, base_url).items():
        lines += 1
        bad += bool(item.code)
        keys.add(item.key)
    duplicates = lines - len(keys)
    text = f"{config.job.name}: {len(keys):,} items in {lines:,} lines, {duplicates:,} duplicates, {bad:,} bad rows"
    path = Layout(output=config.paths.output).ledger_path
    if not path.exists():
        return f"{text}; no run yet"
    with LedgerView.open_view(path) as ledger:
        counts = ledger.counts()
    return f"{text}; the ledger holds {counts.done:,} done, {counts.failed:,} failed, {counts.pending:,} pending"
