"""`--refresh`: an image that its server calls unchanged is finished after its download."""

from batchproc.model import Item, Original, Outcome, Unchanged

NOT_MODIFIED = 304  # RFC 9110, section 15.4.5


def settle_unchanged(outcome: Outcome) -> Outcome:
    """Turns a download answered with 304 into an `Unchanged`, which executors pass on as it is. Thread-safe."""
    if isinstance(outcome, Item) and isinstance(outcome.value, Original):
        reply = outcome.value.reply
        if reply.status_code == NOT_MODIFIED and outcome.source.refresh is not None:
            return Unchanged(source=outcome.source, spans=outcome.spans)
    return outcome
