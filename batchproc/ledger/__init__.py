"""The ledger: one SQLite file per job that remembers the state of every item, and what every run did."""

from batchproc.ledger.importing import Imported, ListedItem, input_fingerprint
from batchproc.ledger.plans import PlanChange
from batchproc.ledger.recovery import Images, Recovered
from batchproc.ledger.runs import RunRecord
from batchproc.ledger.schema import State
from batchproc.ledger.store import Ledger
from batchproc.ledger.view import Counts, LedgerView

__all__ = [
    "Counts",
    "Images",
    "Imported",
    "Ledger",
    "LedgerView",
    "ListedItem",
    "PlanChange",
    "Recovered",
    "RunRecord",
    "State",
    "input_fingerprint",
]
