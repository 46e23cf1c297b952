"""`run --dry-run`: reads the list, counts the work, touches nothing."""

from batchproc.config import Config
from batchproc.ledger import LedgerView
from batchproc.pipeline.assembly import listed_items
from batchproc.sink import Layout


def preview(config: Config) -> str:
    """What a run would find. Raises `UsageError` for a list that cannot be read."""
    keys: set[bytes] = set()
    lines = bad = 0
    for item in listed_items(config, config.job.base_url or ("http://origin.invalid/" if config.origin else "")):
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
