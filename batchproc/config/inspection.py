"""What a config looks like from outside: as JSON without its secrets, as a JSON Schema, as fingerprints of what decides
a failure, and what is unwise in it."""

import ast
import hashlib
import inspect
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from batchproc.config import tables as tables_module
from batchproc.config.tables import Config, HostTable
from batchproc.kinds import DECIDING_KEYS
from batchproc.redact import HIDDEN, is_secret_name, redact_text
from batchproc.version import VERSION

SCHEMA_DIALECT = "https://json-schema.org/draft/2020-12/schema"
SCHEMA_TITLE = "batchproc config"
LONGEST_LINE = 4096


def resolved(config: Config) -> dict[str, Any]:
    """The config as JSON-safe values: paths absolute, times in seconds, sizes in bytes, secrets replaced by `***`."""
    tables = config.model_dump(mode="json", exclude_none=True)
    paths = config.paths
    tables["job"] |= {"root": str(paths.root), "input": list(paths.inputs), "output": paths.bucket or str(paths.output)}
    return {name: _redact(table) for name, table in tables.items()}


def json_schema(steps_schema: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a config file. `steps_schema` is that of one step, where the caller has it."""
    schema = Config.model_json_schema(mode="validation")
    for table, texts in _texts_below_keys().items():
        for key, text in texts.items():
            schema["$defs"][table]["properties"][key]["description"] = text
    if steps_schema is not None:
        schema["$defs"]["Step"] = dict(steps_schema)
        schema["$defs"]["TransformTable"]["properties"]["steps"]["items"] = {"$ref": "#/$defs/Step"}
    return {"$schema": SCHEMA_DIALECT, "version": VERSION, **schema, "title": SCHEMA_TITLE}


def outdated_schema(config: Config) -> str:
    """The path of the schema that the config's first line gives to editors, where another version made it; or empty."""
    path = config.paths.config
    try:
        with path.open(encoding="utf-8") as file:
            named = file.readline(LONGEST_LINE).removeprefix("\ufeff").partition("#:schema ")[2].strip()
        if not named or "://" in named:
            return ""
        known = json.loads((path.parent / named).read_text("utf-8"))
    except (OSError, ValueError):
        return ""
    is_ours = isinstance(known, dict) and known.get("title") == SCHEMA_TITLE
    return str(path.parent / named) if is_ours and known.get("version") != VERSION else ""


def _texts_below_keys() -> dict[str, dict[str, str]]:
    """The strings that stand below the keys in the source of the tables, by table and key."""
    source = ast.parse(inspect.getsource(tables_module))
    return {
        table.name: {
            key.target.id: inspect.cleandoc(text.value.value)
            for key, text in itertools.pairwise(table.body)
            if isinstance(key, ast.AnnAssign) and isinstance(key.target, ast.Name)
            and isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
            and isinstance(text.value.value, str)
        }
        for table in source.body
        if isinstance(table, ast.ClassDef) and table.name.endswith("Table")
    }  # fmt: skip


def unwise(config: Config, cores: int, *, hosts: int | None = None) -> list[str]:
    """What is allowed but will disappoint, a sentence each. `hosts` is the number of hosts in the list, where known."""
    return [*_unwise_download(config, hosts), *_unwise_transform(config, cores), *_unwise_job(config)]


def _unwise_download(config: Config, hosts: int | None) -> Iterator[str]:
    download = config.download
    workers = 0 if download.workers == "auto" else download.worker_count(download.first_mode, 1)  # it adapts
    if hosts and workers > hosts * download.per_host:
        yield (
            f"[download] per_host = {download.per_host} with {workers} workers and {_count(hosts, 'host')}: "
            f"at most {hosts * download.per_host} work at once; raise per_host if the host agrees, or lower workers."
        )
    if download.mode == "process" and workers > 64:
        yield f"[download] {workers} OS processes weigh about 7 MB or more each; threads download as fast."
    if download.connect_timeout + download.first_byte_timeout > download.total_timeout:
        yield "[download] total_timeout is shorter than connect_timeout and first_byte_timeout together, and wins."
    if download.max_bytes > download.buffer:
        yield "[download] max_bytes is larger than buffer: one such image fills it and holds up all others."
    if download.proxy:
        yield "[download] proxy: the proxy resolves names, so it must refuse private addresses itself."
    if any(name.lower() in ("authorization", "cookie") for name in download.headers):
        yield (
            "[download] headers: every host of the list is sent the Authorization or Cookie header; "
            '[download.hosts."img.example.org"] headers sends it to one host alone.'
        )
    if "0.0.0.0/0" in download.allow_addresses or "::/0" in download.allow_addresses:
        yield "[download] allow_addresses allows every address: any URL of the list reaches the inner network."


def _unwise_transform(config: Config, cores: int) -> Iterator[str]:
    transform = config.transform
    workers = 1 if transform.mode == "serial" else transform.worker_count(cores)
    if transform.mode == "process" and workers > cores:
        yield (
            f"[transform] workers = {workers} with {_count(cores, 'core')}: the surplus waits for a core "
            'and takes memory; "auto" is one per core.'
        )
    if transform.mode in ("thread", "serial"):
        yield (
            f"[transform] timeout and memory_limit do not hold in {transform.mode} mode: only a worker that is "
            "an OS process can be killed."
        )


def _unwise_job(config: Config) -> Iterator[str]:
    if config.job.max_failed_ratio == 1 and config.job.max_failed == 0:
        yield "[job] max_failed_ratio = 1: the exit code is 0 even when every image fails."
    if config.job.exit_on_limit and not config.job.max_duration:
        yield "[job] exit_on_limit without max_duration has an effect only with --limit or --max-duration."
    if config.output.format == "png" and config.output.quality != type(config.output)().quality:
        yield "[output] quality has no effect on png."


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _redact(value: Any, name: str = "") -> Any:
    if value and isinstance(value, str | int | float) and not isinstance(value, bool) and _is_secret(name):
        return HIDDEN
    if name == "headers" and isinstance(value, dict):  # any of them may be a key, whatever it is called
        return dict.fromkeys(value, HIDDEN)
    if isinstance(value, dict):
        return {key: _redact(entry, key) for key, entry in value.items()}
    if isinstance(value, list):
        return [_redact(entry, name) for entry in value]
    return redact_text(value) if isinstance(value, str) else value


def _is_secret(name: str) -> bool:
    return name.split(".")[-1] == "ping_url" or is_secret_name(name)


STEPS = "transform.steps"


def deciding_values(config: Config, steps: object = None) -> Mapping[str, str]:
    """The fingerprint of every key that decides a failure, so that it is due again when its cause has changed.

    Fingerprints and not values, because headers and proxies hold secrets. `steps`: what differs between two lists of
    steps; without it theirs is left out: what is not known is no change.
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
