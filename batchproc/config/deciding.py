"""What of a config decides whether an item fails, as fingerprints: a failure is due again when its cause has changed.

Fingerprints and not values, because headers and proxies hold secrets. Which keys decide which failure: see `kinds`.
"""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from batchproc.config.tables import Config, HostTable
from batchproc.kinds import DECIDING_KEYS
from batchproc.version import VERSION

STEPS = "transform.steps"


def deciding_values(config: Config, steps: object = None) -> Mapping[str, str]:
    """The fingerprint of every key that decides a failure. `steps`: what tells one list of steps from another.

    Without `steps` theirs is left out: what is not known is no change.
    """
    values = {key: _value(config, key) for key in DECIDING_KEYS if key != STEPS}
    if steps is not None:
        values[STEPS] = steps
    return {key: _fingerprint(value) for key, value in values.items()}


def _value(config: Config, key: str) -> object:
    table, name = key.split(".")
    value: Any = getattr(getattr(config, table), name)
    if key == "download.user_agent":
        return value.replace(VERSION, "{version}")  # an update of the program is no change of the config
    return sorted(value) if isinstance(value, tuple) else value  # of formats and addresses, whose order decides nothing


def _fingerprint(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), default=HostTable.model_dump)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
