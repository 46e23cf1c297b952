"""The config that all runs of a bench share, as a TOML file: the user's, with the bench's own settings in it."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchproc.config import Config
from batchproc.sink import write_atomically

LOOPBACK = "127.0.0.1/32"
PRIVATE = 0o600


def write_job_file(path: Path, config: Config, *, items: Path, base_url: str, per_host: int) -> None:
    """Writes the job that every case runs. Raises OSError.

    `items` is a list of relative URLs, joined with `base_url`. Reports, metrics and the embedded origin are off; no
    exit code depends on failures, for the bench compares them itself; nothing that is meant for other people's servers
    (headers, proxies, certificates, tables of hosts) is kept.
    """
    tables = config.model_dump(mode="json", exclude_none=True, exclude={"origin", "bench", "metrics"})
    tables["job"] |= {
        "root": str(config.paths.root),
        "input": str(items),
        "id_column": "",
        "delimiter": "",
        "quoting": "auto",
        "columns": {},
        "duplicates": "first",
        "base_url": base_url,
        "output": str(path.parent / "unused"),  # every run is given its own
        "max_failed_ratio": 1.0,
        "max_failed": 0,
        "max_bad_rows": 0,
        "fail_on_empty": False,
        "max_duration": 0.0,
        "exit_on_limit": False,
        "prune": False,
    }
    tables["download"] |= {"allow_addresses": [LOOPBACK], "per_host": per_host, "headers": {}, "proxy": "", "hosts": {}}
    tables["download"] |= {"ca_file": "", "client_cert": "", "client_key": ""}
    tables["output"]["caption"] = ""  # the items have no columns
    tables["report"] |= {"html": False, "trace": False, "gallery": 0, "sampling": True}
    write_atomically(path, [toml_text(tables).encode()], mode=PRIVATE)


def child_environment() -> dict[str, str]:
    """The environment without the config's own variables: they are in the job file already."""
    return {name: value for name, value in os.environ.items() if not (name.startswith("BATCHPROC_") and "__" in name)}


def toml_text(tables: Mapping[str, Mapping[str, Any]]) -> str:
    """Tables of values as TOML."""
    return "\n".join(line for name, table in tables.items() for line in _table_lines(name, table)) + "\n"


def toml_value(value: Any) -> str:
    """A text, number, boolean, list or table as an inline TOML value (v1.0.0)."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, bool | int | float):
        return json.dumps(value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{toml_value(str(key))} = {toml_value(entry)}" for key, entry in value.items()) + "}"
    return "[" + ", ".join(map(toml_value, value)) + "]"


def _table_lines(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    yield f"[{name}]"
    for key, value in table.items():
        yield f"{toml_value(key)} = {toml_value(value)}"
