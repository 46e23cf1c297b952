"""The ledger: one SQLite file per job that remembers the state of every item, and what every run did."""

from batchproc.ledger.deciding import LedgerRun, PlanChange
from batchproc.ledger.files import Recovered, Repaired
from batchproc.ledger.first_import import contradiction_key
from batchproc.ledger.importing import Imported, input_fingerprint
from batchproc.ledger.reader import CAPTION, FACT_TYPES, ORIGINAL, LedgerView, name_columns
from batchproc.ledger.rebuilding import Restored, RestoreRules, holds_items, is_whole, put_in_place, replacement
from batchproc.ledger.schema import SCHEMA_VERSION, State
from batchproc.ledger.shard_table import MOST_SHARD_ITEMS, ShardTable
from batchproc.ledger.store import Ledger

__all__ = [
    "CAPTION",
    "FACT_TYPES",
    "MOST_SHARD_ITEMS",
    "ORIGINAL",
    "SCHEMA_VERSION",
    "Imported",
    "Ledger",
    "LedgerRun",
    "LedgerView",
    "PlanChange",
    "Recovered",
    "Repaired",
    "RestoreRules",
    "Restored",
    "ShardTable",
    "State",
    "contradiction_key",
    "holds_items",
    "input_fingerprint",
    "is_whole",
    "name_columns",
    "put_in_place",
    "replacement",
]
