"""What each case cost: its accounts on one scale, memory, and start-up."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from batchproc.bench.bench_json import Bench
from batchproc.explain.words import seconds, share, size
from batchproc.redact import redact_text
from batchproc.report.account_view import Chart
from batchproc.report.bench_charts import BarRow, case_bars
from batchproc.report.bench_files import groups_of, whole_runs
from batchproc.report.canvas import Label
from batchproc.report.palette import BUCKETS, css_reference

TINY = 0.004  # of the longest bar: a part below it has no number of its own
STAGES = ("download", "transform")
MB = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class LegendEntry:
    """A number, what it means, its colour."""

    number: int
    words: str
    colour: str
    is_outlined: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountsView:
    """One stage: its bars, and the same as a table: heads, then a row of texts per case."""

    stage: str
    chart: Chart
    heads: Sequence[str]
    rows: Sequence[tuple[str, Sequence[str]]]


def view_accounts(bench: Bench) -> tuple[list[AccountsView], list[LegendEntry]]:
    """Both stages with one numbering of the buckets."""
    accounts = {stage: _accounts(bench, stage) for stage in STAGES}
    kept = {stage: found for stage, found in accounts.items() if found}
    legend = _legend(kept.values())
    numbers = {entry.words: entry.number for entry in legend}
    return [_view_accounts(bench, stage, found, numbers) for stage, found in kept.items()], legend


def view_memory(bench: Bench) -> Chart | None:
    """Peak PSS of each whole run; None when the system does not tell."""
    cases = whole_runs(bench)
    known = [(case, pss) for case in cases if (pss := case.memory.peak_pss_bytes)]
    if not known:
        return None
    rows = [
        BarRow(name=case.name, note=size(case.memory.peak_pss_bytes),
               parts=[(0, (case.memory.peak_pss_bytes or 0.0) / MB, "cpu")])
        for case in sorted(cases, key=lambda case: case.memory.peak_pss_bytes or float("inf"))
    ]
    least, most = (pick(known, key=lambda entry: entry[1]) for pick in (min, max))
    sentence = (f"From {size(least[1])} ({least[0].name}) to {size(most[1])} ({most[0].name}), all processes of "
                f"a run together: {most[1] / least[1]:.1f} times as much.")  # fmt: skip
    known_workers = [pss for case in cases if (pss := case.memory.per_worker_pss_bytes)]
    if known_workers:
        sentence += f" A worker process holds {size(fmean(known_workers))} on average."
    label = Label(name="memory", title="Memory of each case", sentence=sentence)
    return Chart(sentence=sentence, svg=case_bars(label, rows, "MB"))


def view_startup(bench: Bench) -> Chart | None:
    """Time to the first item of each whole run; None when unknown."""
    cases = [(start, case) for case in whole_runs(bench) if (start := case.startup_seconds) is not None]
    if not cases:
        return None
    cases.sort(key=lambda entry: entry[0])
    rows = [
        BarRow(name=case.name, note=f"{seconds(start)}, {share(start / fmean(case.seconds))}",
               parts=[(0, 1000 * start, "startup")])
        for start, case in cases
    ]  # fmt: skip
    (first, earliest), (last, latest) = cases[0], cases[-1]
    sentence = (f"The first item starts after {seconds(first)} in {earliest.name} and after "
                f"{seconds(last)} in {latest.name}; that is inside the compared times, and the per "
                "cent are of them.")  # fmt: skip
    label = Label(name="startup", title="Time to the first item", sentence=sentence)
    return Chart(sentence=sentence, svg=case_bars(label, rows, "ms"))


def view_starts(bench: Bench) -> list[tuple[str, str]]:
    """What starting one worker costs, by stage and mode, and the cold start."""
    found: dict[tuple[str, str], list[float]] = {}
    for case in bench.cases:
        for stage, entry in case.stages.items():
            if entry.startup_per_worker_seconds is not None:
                found.setdefault((stage, entry.mode), []).append(entry.startup_per_worker_seconds)
    rows = [(f"{stage}, per {_worker(mode)}", seconds(fmean(of))) for (stage, mode), of in sorted(found.items())]
    rows.append(("the very first run, besides its line (interpreter, list, ledger)",
                 seconds(bench.cold_start.outside_line_seconds)))  # fmt: skip
    return rows


def _worker(mode: str) -> str:
    return {"thread": "thread", "process": "process"}.get(mode, "serial worker")


def _accounts(bench: Bench, stage: str) -> dict[str, dict[str, float]]:
    """Case -> words of a bucket -> worker-seconds of a mean run."""
    found = {}
    for case in (case for group in groups_of(bench) for case in group.cases):
        if stage in case.stages and case.stages[stage].account:
            found[case.name] = {_words(key): value for key, value in case.stages[stage].account.items()}
    return found


def _words(bucket: str) -> str:
    """What people call a bucket; one that this program does not know keeps its name."""
    return BUCKETS[bucket][1] if bucket in BUCKETS else redact_text(bucket).replace("_", " ")


def _legend(accounts: Any) -> list[LegendEntry]:
    """The buckets that are visible somewhere, in the order of the palette; unknown ones last, under their names."""
    roles = {words: role for role, words in BUCKETS.values()}
    seen: dict[str, None] = {}
    for found in accounts:
        longest = max((sum(max(0.0, value) for value in account.values()) for account in found.values()), default=0.0)
        for account in found.values():
            seen |= dict.fromkeys(words for words, value in account.items() if value > TINY * longest)
    order = [words for words in roles if words in seen] + [words for words in seen if words not in roles]
    return [
        LegendEntry(number=at, words=words, colour=css_reference(roles.get(words, "unexplained")),
                    is_outlined=roles.get(words) == "unstaffed")
        for at, words in enumerate(order, 1)
    ]  # fmt: skip


def _view_accounts(
    bench: Bench, stage: str, accounts: Mapping[str, Mapping[str, float]], numbers: Mapping[str, int]
) -> AccountsView:
    roles = {words: role for role, words in BUCKETS.values()}
    order = list(numbers)
    rows = []
    for name, account in accounts.items():
        parts = [(numbers.get(words, 0), max(0.0, account.get(words, 0.0)), roles.get(words, "unexplained"))
                 for words in [*order, *(words for words in account if words not in numbers)]]  # fmt: skip
        whole = sum(value for _, value, _ in parts)
        rows.append(BarRow(name=name, note=seconds(whole), parts=[part for part in parts if part[1] > 0]))
    sentence = _accounts_sentence(bench, stage, accounts)
    label = Label(name=f"accounts-{stage}", title=f"Worker-seconds of {stage}, by case", sentence=sentence)
    heads = [*order, *dict.fromkeys(words for of in accounts.values() for words in of if words not in numbers)]
    table = [(name, [_told(account.get(words)) for words in heads]) for name, account in accounts.items()]
    chart = Chart(sentence=sentence, svg=case_bars(label, rows, "s"))
    return AccountsView(stage=stage, chart=chart, heads=heads, rows=table)


def _told(value: float | None) -> str:
    return "–" if value is None else f"−{seconds(-value)}" if value < 0 else seconds(value)


def _accounts_sentence(bench: Bench, stage: str, accounts: Mapping[str, Mapping[str, float]]) -> str:
    """What took most in the baseline and in the fastest case, and how CPU per picture compares."""
    baseline, best = bench.baseline, next(iter(accounts))
    parts = []
    for name in dict.fromkeys((baseline, best)):
        account = accounts.get(name) or {}
        whole = sum(account.values())
        if whole > 0:
            words = max(account, key=lambda key: account[key])
            parts.append(f"in {name} {share(account[words] / whole)} is {words}")
    cpu = {case.name: used for case in bench.cases
           if stage in case.stages and (used := case.stages[stage].cpu_per_item_seconds)}  # fmt: skip
    text = f"{stage}: {'; '.join(parts)}" if parts else f"{stage}: unknown"
    if not cpu:
        return f"{text}."
    least, most = (pick(cpu, key=lambda name: cpu[name]) for pick in (min, max))
    if least == most:
        return f"{text}; CPU per picture is {seconds(cpu[least])}."
    return f"{text}; CPU per picture is {seconds(cpu[least])} ({least}) to {seconds(cpu[most])} ({most})."
