"""How far the figures can be trusted, and where they come from: self-checks, methods, machine, config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.explain.words import seconds, share, size
from batchproc.measure.checks import Check
from batchproc.record.run import MachineRecord, NotSampled, RunRecord

_NAMES = {
    "remainder": "the account adds up",
    "little": "two counts of items in flight agree",
    "others": "nothing else used the machine",
    "steal": "no CPU taken by the hypervisor",
    "throttling": "no CPU quota in the way",
    "origin": "the embedded origin took little of the machine",
    "hidden": "no CPU outside the measured threads",
    "overhead": "measuring costs next to nothing",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRow:
    """One self-check. `verdict`: passed, failed or unknown."""

    name: str
    text: str
    limit: str
    verdict: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustView:
    """The honesty panel."""

    summary: str
    checks: Sequence[CheckRow]
    methods: Sequence[tuple[str, str]]
    notes: Sequence[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Machine, libraries, and the config as it was resolved, as text like TOML."""

    run: Sequence[tuple[str, str]]
    machine: Sequence[tuple[str, str]]
    libraries: Sequence[tuple[str, str]]
    config: str


def view_trust(record: RunRecord, notes: Sequence[str]) -> TrustView:
    """`notes`: what the page itself could not show."""
    checks = [_check(check) for check in record.checks]
    if not any(check.name.startswith("overhead") for check in record.checks):
        checks.append(CheckRow(name=_NAMES["overhead"], text="not known: no pair of runs with and without measuring "
                               "was made", limit="1%", verdict="unknown"))  # fmt: skip
    counts = {word: sum(check.verdict == word for check in checks) for word in ("passed", "failed", "unknown")}
    account = [f"{name}: {note}" for name, stage in record.stages.items() for note in stage.account_notes]
    return TrustView(
        summary=f"{counts['passed']} of {len(checks)} self-checks passed, {counts['failed']} failed, "
        f"{counts['unknown']} could not be made.",
        checks=checks,
        methods=_methods(record),
        notes=list(dict.fromkeys([*account, *_sampler_notes(record), *notes])),
    )


def view_provenance(
    run: Sequence[tuple[str, str]], machine: MachineRecord, config: Mapping[str, object]
) -> Provenance:
    """What ran, on what, with which settings."""
    return Provenance(
        run=run,
        machine=[
            ("name", machine.name),
            ("system", f"{machine.system}, {machine.machine}"),
            ("usable cores", f"{machine.cores or 'unknown'} of {machine.cores_online or 'unknown'}"),
            ("Python", f"{machine.implementation} {machine.python}".strip()),
            ("GIL", {True: "yes", False: "no: free-threaded", None: "unknown"}[machine.gil]),
            ("processes started by", machine.start_method),
        ],
        libraries=list(machine.libraries.items()),
        config=_as_text(config),
    )


def _check(check: Check) -> CheckRow:
    name, _, stage = check.name.partition(".")
    words = _NAMES.get(name, name.replace("_", " "))
    limit = seconds(check.limit) if name == "throttling" else share(check.limit)
    verdict = {True: "passed", False: "failed", None: "unknown"}[check.passed]
    return CheckRow(name=f"{words}: {stage}" if stage else words, text=check.text, limit=limit, verdict=verdict)


def _methods(record: RunRecord) -> list[tuple[str, str]]:
    samples, wall = record.sampled, record.line_seconds
    words = {"sampled": "sampled by a helper process", "residual": "residual of the account"}
    rows = [(f"GIL waiting in {name}", words.get(stage.gil_method, "unknown")) for name, stage in record.stages.items()]
    cost = samples.sampler_cpu_seconds
    of_core = f", {share(cost / wall)} of one core" if cost is not None and wall else ""
    return [
        *rows,
        ("CPU of the sampler", f"{seconds(cost)}{of_core}"),
        ("looks of the sampler", "unknown" if samples.looks is None else f"{samples.looks:,}"),
        ("memory", f"PSS of the process tree, at most {size(record.memory.peak_pss_bytes)}; "
         f"USS {size(record.memory.peak_uss_bytes)}"),
    ]  # fmt: skip


def _sampler_notes(record: RunRecord) -> list[str]:
    if isinstance(record.samples, NotSampled):
        return [f"The sampler saw nothing: {record.samples.unknown}."] if record.samples.unknown else []
    if record.samples.gil_method == "unknown":
        return [f"Waiting for the GIL could not be sampled: {record.samples.gil_reason or 'no reason given'}."]
    return []


def _as_text(config: Mapping[str, object]) -> str:
    return "\n\n".join(_table(name, table) for name, table in config.items() if isinstance(table, dict))


def _table(name: str, table: Mapping[str, Any]) -> str:
    plain = {key: value for key, value in table.items() if not _is_tables(value)}
    lines = [f"[{name}]", *(f"{key} = {_value(value)}" for key, value in plain.items())]
    for key, value in table.items():
        if _is_tables(value):
            for entry in value:
                lines += ["", f"[[{name}.{key}]]", *(f"{part} = {_value(one)}" for part, one in entry.items())]
    return "\n".join(lines)


def _is_tables(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(entry, dict) for entry in value)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_value(one)}" for key, one in value.items()) + "}"
    return str(value)
