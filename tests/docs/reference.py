"""Writes the pages of `docs/` that are made from the program, and its help: `python -m tests.docs.reference`."""

import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from batchproc.cli.app import COMMANDS, app
from batchproc.config import json_schema
from batchproc.errors import ExitCode
from batchproc.kinds import FAMILIES, TABLE, Kind, Retry
from batchproc.transform.plan import BUILT_IN, built_in
from batchproc.transform.steps.step import keys_of
from tests.docs.pictures import MEANINGS

DOCS = Path(__file__).parents[2] / "docs"
HELP = DOCS.parent / "batchproc/templates/help.txt"
MADE = "<!-- Made by python -m tests.docs.reference: change its source, not this page. -->"
REQUIRED = "required"

CONFIG_HEAD = """
A job is a TOML file. Every key has a default but `job.name`, `job.input` and `job.output`. Keys below are written
with their table: `download.per_host` is `per_host` in `[download]`. Any of them can be set for one run by a flag
(`--set download.per_host=2`) or by the environment (`BATCHPROC_DOWNLOAD__PER_HOST=2`); flags beat environment,
environment beats file, file beats default. `batchproc check CONFIG` shows what a config resolves to, `batchproc
schema` prints all of this for editors, `batchproc help download.per_host` prints one entry.

A *duration* is written `"250ms"`, `"5s"`, `"2m"` or `"1h30m"`, or as a number of seconds. A *size* is written
`"32MB"` (10^6) or `"32MiB"` (2^20), or as a number of bytes. Paths are relative to `job.root`, and that is relative
to the config file. What is wrong is told all at once, each with its place, what is allowed and the nearest valid
name, before anything is touched.
"""
FAILURES_HEAD = """
Every item that leaves the run early has a row in `failures.jsonl` with one of these codes, a message and a hint; the
summary and `batchproc status CONFIG` count them. `batchproc help http.404` prints one entry. *Tried again* says when,
without being asked:

- *never*: only `--retry-failed` asks again, or the config: when a key under *decided by* has changed
- *in this run*: up to `download.retries` times, with growing pauses; then by `job.max_runs_per_item` runs in all
- *when the host answers*: the whole host pauses first
- *once*: one more time in this run
- *by the next run*
"""
STEPS_HEAD = """
Each is a table `[[transform.steps]]` with its `op` and keys; they run in their order, on upright images in sRGB.
[Steps of your own](custom-steps.md) are named the same way. `batchproc steps` prints this list for the installed
version.
"""
COSTS_HEAD = """
## What each costs

As `python -m tests.campaign.beside` measured it for the examples above on RGB images, on one core of 2026. Steps that
release the GIL run side by side in threads; those that hold it take turns there, and need processes. Where a picture
has alpha, `resize` and odd angles of `rotate` hold the GIL for about 3 ns per pixel and channel.
"""
AGAIN = {
    Retry.NEVER: "never",
    Retry.BACKOFF: "in this run",
    Retry.HOST: "when the host answers",
    Retry.ONCE: "once",
    Retry.NEXT_RUN: "by the next run",
}
EXITS = {
    ExitCode.DONE: ("done, failures within `job.max_failed_ratio`", "nothing"),
    ExitCode.INTERNAL: (
        "internal error: the workers could not do their work, or nothing moved any more",
        "read the message; run again: nothing is lost",
    ),
    ExitCode.USAGE: (
        "refused before any work: usage, config, preflight, a list that breaks off or is not allowed, changed "
        "settings; nothing was fetched, no image was touched; new lines of a list may be in the ledger already",
        "mend what the message names; `batchproc check CONFIG` says whether that was all",
    ),
    ExitCode.TOO_MANY_FAILED: (
        "done, but more failures than `job.max_failed_ratio` or `job.max_failed` allow, or more items left for the "
        "next run than `job.max_deferred_ratio` does; or the first failure with `--strict`",
        "`batchproc status CONFIG` says which codes, and what to do about each",
    ),
    ExitCode.LIMIT: (
        "stopped by a limit with work left (only with `job.exit_on_limit = true`)",
        "the same command continues",
    ),
    ExitCode.DISK: (
        "disk or ledger cannot be written or read",
        "make room, or `batchproc rebuild CONFIG` if the message says that the ledger is damaged",
    ),
    ExitCode.LOCKED: ("another run of this job holds the lock", "let it end, or wait for it with `--wait 10m`"),
    ExitCode.INTERRUPTED: ("interrupted (Ctrl-C)", "the same command continues"),
    ExitCode.TERMINATED: ("terminated (SIGTERM)", "the same command continues"),
}
WORDS = """
## Words

A summary, `batchproc status CONFIG` and `failures.jsonl` also know these words:

| word | means |
|---|---|
| `rejected` | dropped on purpose by a check; not a failure |
| `quarantined` | killed its worker process twice; a failure that only `--retry-failed` or `--fresh` tries again |
| `deferred` | left for the next run and not charged for it, as when a host asks for a long pause |
| `absent` | no longer in the list; its image stays, unless `job.prune = true` |

A failure whose cause is in the config (an address that is not allowed, a limit, a format, a login, a step) comes back
by itself when that part of the config changes; the summary and `status` name the key. A limit that is loosened makes
no image again. `--retry-failed` is for what failed for other reasons.

Ctrl-C once: nothing more starts, what is in flight may finish, for at most `job.grace`. Twice: it stops at once.
Nothing that was done is lost. With `--strict` the first failed item stops the run with exit code 3; the run says
which one and why, what was in flight is left for the next run, and rejected and deferred items do not count.
"""


def pages() -> dict[str, str]:
    """The made pages by their file names."""
    return {"config.md": _config(), "failures.md": _failures(), "steps.md": _steps(), "commands.md": _commands()}


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", MADE, *(part.strip() for part in parts)]) + "\n"


def _table(headings: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    lines = [headings, tuple("---" for _ in headings), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _config() -> str:
    schema = json_schema()
    parts = []
    for name, prop in schema["properties"].items():
        table = _definition(prop)
        parts.append(_config_table(name, schema["$defs"][table], f"[{name}]"))
        if name == "download":
            host = schema["$defs"]["HostTable"]
            parts.append(_config_table("download.hosts.NAME", host, '[download.hosts."NAME"]'))
    return _page("Every key of a config", CONFIG_HEAD, *parts)


def _definition(prop: dict[str, Any]) -> str:
    """The name of the table that a key of the top level refers to."""
    found = re.search(r"\$defs/(\w+)", str(prop))
    assert found is not None
    return found[1]


def _config_table(name: str, table: dict[str, Any], heading: str) -> str:
    rows = [
        (
            f"`{name}.{key}`",
            _allowed(prop),
            REQUIRED if key in table.get("required", ()) else _default(prop),
            " ".join(prop["description"].split()),
        )
        for key, prop in table["properties"].items()
    ]
    return f"## `{heading}`\n\n{table['description']}\n\n" + _table(("key", "allowed", "default", "what and why"), rows)


def _allowed(prop: dict[str, Any]) -> str:
    """Type and range of a key, in words, from its JSON Schema."""
    if "anyOf" in prop:
        kind = _written_kind(prop)
        options = [one for one in prop["anyOf"] if one.get("type") != "null"]
        if kind:
            return kind + _range(options[-1], kind)
        return " or ".join(dict.fromkeys(_allowed(one) for one in options))
    if "const" in prop:
        return f'`"{prop["const"]}"`'
    if "enum" in prop:
        return ", ".join(f'`"{one}"`' for one in prop["enum"])
    kind = {"boolean": "`true`, `false`", "integer": "whole number", "number": "number", "string": "text"}.get(
        prop.get("type", ""), prop.get("type", "value")
    )
    if kind == "array":
        return f"list of {_allowed(prop['items'])}" if "items" in prop and "$ref" not in prop["items"] else "list"
    return kind.replace("object", "table") + _range(prop, kind)


def _written_kind(prop: dict[str, Any]) -> str:
    pattern = str(prop["anyOf"][0].get("pattern", ""))
    return "size" if "kKMGT" in pattern else "duration" if "ms" in pattern else ""


def _range(prop: dict[str, Any], kind: str) -> str:
    least, above, most = (prop.get(name) for name in ("minimum", "exclusiveMinimum", "maximum"))
    if kind == "duration":
        return (", more than 0" if above == 0 else "") + (", up to 366 days" if most else "")
    if kind == "size":
        return f", from {_size(least)}" if least else ""
    if least is None or most is None:
        return f", {least} or more" if least is not None else ""
    return f", {least:,} to {most:,}"


def _default(prop: dict[str, Any]) -> str:
    value = prop.get("default")
    kind = _written_kind(prop) if "anyOf" in prop else ""
    if value is None:
        return "as for every host"
    if kind == "duration":
        return f'`"{_duration(value)}"`'
    if kind == "size":
        return f'`"{_size(value)}"`'
    return f"`{_toml(value)}`"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return f"{value:_}" if isinstance(value, int) else str(value)


def _duration(seconds: float) -> str:
    for unit, length in (("h", 3600), ("m", 60)):
        if seconds and seconds % length == 0 and seconds > length:
            return f"{seconds / length:g}{unit}"
    return f"{seconds:g}s" if seconds >= 1 or not seconds else f"{1000 * seconds:g}ms"


def _size(size_bytes: int) -> str:
    for unit, power in (("GB", 9), ("MB", 6), ("KB", 3)):
        if size_bytes and size_bytes % 10**power == 0:
            return f"{size_bytes // 10**power}{unit}"
    return f"{size_bytes}B" if size_bytes else "0"


def _failures() -> str:
    kinds = [(kind.code, kind) for kind in TABLE.values()]
    families = [(f"{family.code}*", family) for family in FAMILIES]
    rows = [_failure(code, kind) for code, kind in (*kinds, *families)]
    exits = [(f"`{code.value}`", means, advice) for code, (means, advice) in ((code, EXITS[code]) for code in ExitCode)]
    codes = _table(("code", "what happened", "what to do", "tried again", "decided by"), rows)
    return _page(
        "Failure codes and exit codes",
        f"{FAILURES_HEAD}\n{codes}",
        "## Exit codes\n\n" + _table(("exit code", "means", "what to do"), exits),
        WORDS,
    )


def _failure(code: str, kind: Kind) -> tuple[str, ...]:
    again = "not a failure" if kind.is_rejection else AGAIN[kind.retry]
    return (f"`{code}`", kind.meaning, kind.advice, again, ", ".join(f"`{key}`" for key in kind.decided_by))


HOWS = _table(("`how`", "makes"), [(f"`{how}`", meaning) for how, meaning in MEANINGS.items()])
SHOWN = {
    "resize": f"""{HOWS}

![The six ways, made of one picture of 180 x 120 px with size = [96, 96], whose edge is framed](resize-how.png)

For a data set whose images must all have one size take `fit`, or `pad` where nothing may be lost; to save room take
`contain`. Upright and flat pictures differ: `contain` bounds the longer side, `cover` the shorter one.""",
    "crop": """![A picture of 180 x 120 px, and what size = [96, 96] keeps of it by each gravity](crop-gravity.png)""",
}


def _steps() -> str:
    parts = []
    for step in map(built_in, BUILT_IN):
        rows = [
            (
                f"`{key.name}`",
                key.kind.allowed,
                REQUIRED if key.required else f"`{key.default_toml}`" if key.default_toml else "",
                key.help,
            )
            for key in keys_of(step)
        ]
        keys = _table(("key of it", "allowed", "default", "means"), rows) + "\n\n" if rows else ""
        shown = f"{SHOWN[step.op]}\n\n" if step.op in SHOWN else ""
        words = textwrap.fill(f"{step.summary()} {step.details()}", 118, break_on_hyphens=False)
        parts.append(f"## `{step.op}`\n\n{words}\n\n{keys}{shown}```toml\n{step.example_toml()}\n```")
    return _page("Steps", STEPS_HEAD, *parts, f"{COSTS_HEAD}\n{_costs()}")


def _costs() -> str:
    rows = [
        (f"`{step.op}`", "holds it" if step.work.holds_gil else "releases it", step.work.cost_words)
        for step in map(built_in, BUILT_IN)
    ]
    return _table(("step", "GIL, while it works", "CPU per pixel that it gets"), rows)


def _commands() -> str:
    parts = [_command(command.__name__) for command in COMMANDS]
    head = """
Results go to stdout, all else to stderr. `batchproc COMMAND --help` prints the same as this page. `NO_COLOR` is obeyed.

`batchproc --install-completion` lets your shell (bash, zsh, fish) complete commands, flags, modes and topics with
the Tab key; `batchproc --show-completion` prints the script, to put it where you want it. Both take the shell's name
where they cannot tell it: `batchproc --show-completion zsh`.
"""
    return _page("Every command and flag", head, *parts)


def _command(name: str) -> str:
    command = typer.main.get_command(app).commands[name]  # type: ignore[attr-defined]
    rows = [*_parameters(command)]
    words, _, example = (command.help or "").partition("\n\nExample: ")
    flags = "\n\n" + _table(("flag or argument", "does"), rows) if rows else ""
    return f"## `batchproc {name}`\n\n{' '.join(words.split())}\n\nExample: `{example.strip()}`{flags}"


def _parameters(command: Any) -> Iterator[tuple[str, str]]:
    for parameter in command.params:
        if getattr(parameter, "hidden", False):
            continue
        if parameter.param_type_name == "argument":
            yield f"`{parameter.metavar or parameter.name.upper()}`", parameter.help or ""
        elif parameter.name != "help":
            names = ", ".join((*parameter.opts, *parameter.secondary_opts))
            metavar = f" {parameter.metavar}" if parameter.metavar else ""
            yield f"`{names}{metavar}`", parameter.help or ""


def help_text() -> str:
    """What `batchproc --help` prints 80 columns wide; the program keeps it in a file, to print it sooner."""
    command = [Path(sys.executable).with_name("batchproc"), "--help"]
    wide = {**os.environ, "COLUMNS": "80"}  # where it is given, the file is not asked
    return subprocess.run(command, env=wide, capture_output=True, text=True, check=True, timeout=60).stdout


def main() -> None:
    """Writes the pages, and the text of `batchproc --help`."""
    HELP.write_text(help_text(), encoding="utf-8")
    for name, text in pages().items():
        (DOCS / name).write_text(text, encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
