"""`--refresh`: an image that is unchanged, by its server's word or by its bytes, is finished after its download."""

import hashlib

from batchproc.model import Item, Original, Outcome, Unchanged

NOT_MODIFIED = 304  # RFC 9110, section 15.4.5


def settle_unchanged(outcome: Outcome) -> Outcome:
    """Turns a download that brought nothing new into an `Unchanged`, which executors pass on as it is. Thread-safe."""
    known = outcome.source.refresh
    if known is None or not isinstance(outcome, Item) or not isinstance(outcome.value, Original):
        return outcome
    original = outcome.value
    if original.reply.status_code == NOT_MODIFIED:
        return Unchanged(source=outcome.source, spans=outcome.spans)
    if known.source_sha256 and hashlib.sha256(original.content).hexdigest() == known.source_sha256:
        return Unchanged(source=outcome.source, reply=original.reply, spans=outcome.spans)
    return outcome
