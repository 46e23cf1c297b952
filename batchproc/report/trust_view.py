"""How far the figures can be trusted, and where they come from: self-checks, methods, machine, config."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from batchproc.explain.words import seconds, share, size

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
_GIL = {"True": "yes", "False": "no: free-threaded"}


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


def view_trust(facts: Mapping[str, Any], notes: Sequence[str]) -> TrustView:
    """`notes`: what the page itself could not show."""
    checks = [_check(check) for check in facts.get("checks") or ()]
    if not any(check.get("name", "").startswith("overhead") for check in facts.get("checks") or ()):
        checks.append(CheckRow(name=_NAMES["overhead"], text="not known: no pair of runs with and without measuring "
                               "was made", limit="1 %", verdict="unknown"))  # fmt: skip
    counts = {word: sum(check.verdict == word for check in checks) for word in ("passed", "failed", "unknown")}
    stages = facts["stages"].items()
    account = [f"{name}: {note}" for name, stage in stages for note in stage.get("account_notes") or ()]
    return TrustView(
        summary=f"{counts['passed']} of {len(checks)} self-checks passed, {counts['failed']} failed, "
        f"{counts['unknown']} could not be made.",
        checks=checks,
        methods=_methods(facts),
        notes=list(dict.fromkeys([*account, *_sampler_notes(facts), *notes])),
    )


def view_provenance(facts: Mapping[str, Any]) -> Provenance:
    """What ran, on what, with which settings."""
    host = facts.get("host") or {}
    gil = _GIL.get(str(host.get("gil")), "unknown")
    return Provenance(
        run=[
            ("program", f"batchproc {facts.get('version', 'unknown')}"),
            ("run", str(facts.get("run_id", "unknown"))),
            ("started", str(facts.get("started", "unknown"))),
            ("ended", str(facts.get("ended", "unknown"))),
            ("exit code", str(facts.get("exit_code", "unknown"))),
        ],
        machine=[
            ("name", str(host.get("name", "unknown"))),
            ("system", f"{host.get('system', 'unknown')}, {host.get('machine', 'unknown')}"),
            ("usable cores", f"{host.get('cores', 'unknown')} of {host.get('cores_online', 'unknown')}"),
            ("Python", f"{host.get('implementation', '')} {host.get('python', 'unknown')}".strip()),
            ("GIL", gil),
            ("processes started by", str(host.get("start_method") or "unknown")),
        ],
        libraries=[(name, str(version)) for name, version in (host.get("libraries") or {}).items()],
        config=_as_text(facts.get("config") or {}),
    )


def _check(check: Mapping[str, Any]) -> CheckRow:
    name, _, stage = str(check.get("name", "")).partition(".")
    words = _NAMES.get(name, name.replace("_", " "))
    verdict = {"True": "passed", "False": "failed"}.get(str(check.get("passed")), "unknown")
    limit = check.get("limit")
    is_time = name == "throttling"
    return CheckRow(
        name=f"{words}: {stage}" if stage else words,
        text=str(check.get("text", "")),
        limit="unknown" if limit is None else seconds(limit) if is_time else share(limit),
        verdict=verdict,
    )


def _methods(facts: Mapping[str, Any]) -> list[tuple[str, str]]:
    samples = facts.get("samples") or {}
    rows = [
        (f"GIL waiting in {name}", {"sampled": "sampled by a helper process", "residual": "residual of the account"}
         .get(stage.get("gil_method"), "unknown"))
        for name, stage in facts["stages"].items()
    ]  # fmt: skip
    cost = samples.get("sampler_cpu_seconds")
    wall = facts.get("line_seconds")
    rows.append(("CPU of the sampler", "unknown" if cost is None else
                 f"{seconds(cost)}{f', {share(cost / wall)} of one core' if wall else ''}"))  # fmt: skip
    rows.append(("looks of the sampler", f"{samples['looks']:,}" if "looks" in samples else "unknown"))
    memory = facts.get("memory") or {}
    rows.append(("memory", f"PSS of the process tree, at most {size(memory.get('peak_pss_bytes'))}; "
                 f"USS {size(memory.get('peak_uss_bytes'))}"))  # fmt: skip
    return rows


def _sampler_notes(facts: Mapping[str, Any]) -> list[str]:
    samples = facts.get("samples") or {}
    notes = []
    if "unknown" in samples:
        notes.append(f"The sampler saw nothing: {samples['unknown']}.")
    if samples.get("gil_method") == "unknown":
        notes.append(f"Waiting for the GIL could not be sampled: {samples.get('gil_reason') or 'no reason given'}.")
    return notes


def _as_text(config: Mapping[str, Any]) -> str:
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
