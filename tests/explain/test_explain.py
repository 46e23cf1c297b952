"""The whole explanation: its rules with their counter-checks, unknown, and no number from nowhere."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from batchproc.explain.explanation import explain
from batchproc.record.explanation import Choice
from batchproc.record.run import RunRecord, record_of, to_json, write_text
from tests.explain.runs import CPU_BOUND, all_serial, cpu_bound, held, run, stage

NUMBER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*(ms|us|s|%|min)?(?![\w.])")
UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "%": 0.01, "min": 60.0}


def explained(facts: dict[str, Any]) -> RunRecord:
    return explain(record_of(facts))


def choice(told: RunRecord, name: str) -> Choice:
    return next(one for one in told.choices if one.stage == name)


def ratio(told: RunRecord, name: str, mode: str) -> float | None:
    return next(one.predicted_ratio for one in choice(told, name).alternatives if one.mode == mode)


def sentences(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for one in value.values() if isinstance(value, dict) else value:
            yield from sentences(one)


RUNS = {"process": cpu_bound(), "thread": cpu_bound("thread"), "serial": all_serial(), "held": held()}


@pytest.mark.parametrize("facts", RUNS.values(), ids=RUNS.keys())
def test_the_structure_is_whole_and_comes_back_from_json(facts: dict[str, Any]) -> None:
    told = explained(facts)

    assert told == record_of(json.loads(write_text(told)))
    assert ["download", "transform"] == [one.stage for one in told.choices]
    assert {"workers", "cores", "gil", "pipe", "network", "per_host"} == {
        one.name for one in told.ceilings["download"]
    }
    assert 3 == len(told.verdict)
    assert len(told.hints) <= 8


@pytest.mark.parametrize("facts", RUNS.values(), ids=RUNS.keys())
def test_explaining_changes_nothing_and_is_repeatable(facts: dict[str, Any]) -> None:
    record = record_of(facts)

    assert explain(record) == explain(explain(record))
    assert record_of(facts) == record


@pytest.mark.parametrize("facts", RUNS.values(), ids=RUNS.keys())
def test_exactly_one_ceiling_binds(facts: dict[str, Any]) -> None:
    binding = {
        (one.name, one.rate_per_second)
        for stage_ceilings in explained(facts).ceilings.values()
        for one in stage_ceilings
        if one.binds
    }

    assert 1 == len(binding)


def test_waiting_downloads_make_threads_win() -> None:
    told = explained(cpu_bound())

    verdict = choice(told, "download").verdict
    assert "waiting for the network" in verdict
    assert "downloads waited at the same time" in verdict
    assert (ratio(told, "download", "serial") or 1.0) < 0.5


def test_a_model_that_misses_its_run_says_less_about_waiting_and_nothing_about_modes() -> None:
    facts = cpu_bound()
    told = explained(facts | {"line_seconds": 2 * facts["line_seconds"]})

    assert "unknown whether thread was right for download" in choice(told, "download").verdict
    assert {None} == {one.predicted_ratio for one in choice(told, "download").alternatives}
    assert "downloads waited at the same time" not in " ".join(sentences(to_json(told)))
    assert None is told.break_even.items


def test_unexplained_seconds_forbid_a_verdict_on_that_stage() -> None:
    facts = cpu_bound()
    facts["checks"].append({"name": "remainder.transform", "value": 0.08, "passed": False, "text": "8%"})
    told = explained(facts)

    assert "8% of its worker-seconds are unexplained" in choice(told, "transform").verdict
    assert "unknown" not in choice(told, "download").verdict


def test_released_steps_make_threads_as_good_as_processes() -> None:
    told = explained(cpu_bound())

    assert (ratio(told, "transform", "thread") or 0.0) > 0.95
    assert (told.crossover.cores or 0.0) > 8.0
    assert "never" in told.break_even.text


def test_a_held_gil_with_waiting_threads_asks_for_processes() -> None:
    told = explained(held())

    assert (ratio(told, "transform", "process") or 0.0) > 1.5
    assert (told.crossover.cores or 9.0) < 1.5
    assert (told.break_even.items or 0.0) > 1
    hints = " ".join(hint.text + hint.evidence for hint in told.hints)
    assert 'transform.mode = "process"' in hints
    assert "the threads waited" in hints


def test_held_steps_whose_threads_did_not_wait_are_doubted() -> None:
    facts = held()
    facts["stages"]["transform"]["account"]["gil_wait"] = 0.0
    told = explained(facts)

    assert "less than the 41% that this estimate asks for" in " ".join(
        one.text for one in choice(told, "transform").evidence
    )
    assert told.crossover.text.startswith("unknown")
    assert "no median filter" not in " ".join(hint.text for hint in told.hints)


def test_released_steps_whose_threads_waited_are_doubted() -> None:
    told = explained(cpu_bound("thread", gil_wait=12.0))

    evidence = [one.text for one in choice(told, "transform").evidence]
    assert any("more than this estimate explains" in text for text in evidence)
    assert None is told.crossover.cores


def test_a_step_of_the_users_own_leaves_the_crossover_unknown() -> None:
    told = explained(cpu_bound(parts_cpu={"decode": 0.002, "steps.mine:work": 0.018}))

    assert (None, None) == (told.crossover.phi, told.crossover.cores)
    assert told.crossover.text.startswith("unknown")
    assert None is told.break_even.items


def test_more_workers_than_cores_is_said_on_a_quiet_machine_only() -> None:
    crowded = cpu_bound("process", run_queue=20.0)
    crowded["stages"]["transform"] |= {"workers": 8}
    noisy = json.loads(json.dumps(crowded))
    noisy["checks"] = [{"name": "others", "passed": False, "value": 0.3, "text": "other programs used 30%"}]

    quiet_hints, noisy_hints = ([hint.text for hint in explained(one).hints] for one in (crowded, noisy))
    assert any("transform.workers = 2" in text for text in quiet_hints)
    assert not any("transform.workers = 2" in text for text in noisy_hints)
    assert any("quiet machine" in text for text in noisy_hints)


def test_neighbours_widen_what_is_predicted() -> None:
    quiet, noisy = cpu_bound(), cpu_bound()
    noisy["samples"]["machine"] |= {"others_cpu_share": 0.2, "busy_share": 0.99}
    widths = []
    for facts in (quiet, noisy):
        one = choice(explained(facts), "download").alternatives[0]
        widths.append(one.high / one.low)

    assert widths[1] > widths[0]


def test_a_noisy_machine_leaves_a_tie_open_and_still_tells_the_clear_loser() -> None:
    facts = cpu_bound()
    facts["samples"]["machine"] |= {"others_cpu_share": 0.22, "busy_share": 0.99}
    verdict = choice(explained(facts), "download").verdict

    assert "thread beat serial for download" in verdict
    assert "unknown whether process would do better" in verdict


def test_refusing_servers_are_named() -> None:
    told = explained(cpu_bound() | {"failures_this_run": {"rate": 3, "http.404": 9}})

    assert any("3 rate" in hint.evidence for hint in told.hints)
    assert not any("404" in hint.evidence for hint in told.hints)


def test_a_busy_parent_with_starving_processes_is_a_suspicion_only() -> None:
    items, wall = 1000, 4.0
    facts = run(
        stage("thread", 32, items=items, wall=wall, cpu=0.0006, blocked=0.07),
        stage("process", 2, items=items, wall=wall, cpu=0.002, ipc_parent=0.002),
    )
    facts["samples"]["processes"] = [{"role": "main", "cpu_seconds": 3.9}]

    evidence = [hint.evidence for hint in explained(facts).hints if "main process used" in hint.evidence]
    assert 1 == len(evidence)
    assert "was not tested" in evidence[0]


def test_hosts_that_are_not_known_leave_per_host_unknown() -> None:
    facts = cpu_bound()
    facts["config"]["origin"] = None
    ceilings = {one.name: one for one in explained(facts).ceilings["download"]}

    assert None is ceilings["per_host"].rate_per_second
    assert ceilings["per_host"].because.startswith("unknown")
    assert None is ceilings["network"].rate_per_second


def test_nothing_processed_is_explained_as_unknown() -> None:
    empty = stage("thread", 2, items=0, wall=1.0, cpu=0.0, parts_cpu=CPU_BOUND)
    told = explained(run(empty, empty))

    assert () == told.choices
    assert told.crossover.text.startswith("unknown")


def numbers_in(value: Any) -> Iterator[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield abs(float(value))
    elif isinstance(value, str):
        for match in NUMBER.finditer(value):
            yield float(match[1].replace(",", "")) * UNITS[match[2] or ""]
    else:
        for one in value.values() if isinstance(value, dict) else value:
            yield from numbers_in(one)


def figures(facts: dict[str, Any], told: dict[str, Any]) -> list[float]:
    """What a sentence may quote: every figure of the facts and of the explanation, and what follows in one step.

    One step: a stage's total per item, of its busy time, of its worker-seconds; or a sum over both stages.
    """
    items = facts["counts"]["processed"]
    plain = [*numbers_in(facts), *numbers_in({key: value for key, value in told.items() if key != "verdict"})]
    derived = []
    for one in facts["stages"].values():
        totals = [*numbers_in(one["account"]), *numbers_in(one["parts_cpu"]), one["busy_seconds"], one["cpu_seconds"]]
        whole = one["workers"] * one["wall_seconds"]
        for total, part in itertools.product(totals, (items, one["busy_seconds"], one["cpu_seconds"], whole)):
            derived.append(total / part if part else 0.0)
        derived.append(one["busy_seconds"] / facts["line_seconds"])
    return [*plain, *derived]


@pytest.mark.parametrize("facts", RUNS.values(), ids=RUNS.keys())
def test_every_number_in_a_verdict_is_a_figure_of_the_facts_or_of_the_explanation(facts: dict[str, Any]) -> None:
    told = explained(facts)
    known = figures(facts, {key: to_json(told)[key] for key in ("ceilings", "crossover", "break_even", "hints")})
    known += list(numbers_in([[one["evidence"], one["alternatives"]] for one in to_json(told)["choices"]]))

    for sentence in [*told.verdict, *(one.verdict for one in told.choices)]:
        for match in NUMBER.finditer(sentence):
            value = float(match[1].replace(",", "")) * UNITS[match[2] or ""]
            near = min(known, key=lambda figure: abs(figure - value))
            assert near == pytest.approx(value, rel=0.06, abs=0.0051 if match[2] == "%" else 1e-9), match[0]


def limited_by_hosts() -> dict[str, Any]:
    items, wall = 200, 200 * 0.3006 / 4 + 0.2
    facts = run(
        stage("thread", 16, items=items, wall=wall, cpu=0.0006, blocked=0.3),
        stage("process", 2, items=items, wall=wall, cpu=0.005, parts_cpu={"decode": 0.005}),
    )
    facts["config"]["download"]["per_host"] = 4
    facts["samples"]["gauge_means"] = {"waiting": 90.0}
    return facts | {"config": facts["config"] | {"origin": None}}


def test_idle_workers_beside_waiting_items_point_at_the_hosts() -> None:
    told = explained(limited_by_hosts())

    assert "the hosts' limits (per_host) let 3.9 downloads run at once" in told.bottleneck.because
    hint = next(hint for hint in told.hints if "per_host" in hint.text)
    assert "per_host = 4 binds: on average 3.9 downloads" in hint.evidence
    assert (hint.gain or 0.0) > 1.5
    assert ["per_host"] == [one.name for one in told.ceilings["download"] if one.binds]
    assert (ratio(told, "transform", "serial") or 0.0) > 0.95


def test_idle_workers_without_waiting_items_say_nothing_about_hosts() -> None:
    facts = limited_by_hosts()
    facts["samples"]["gauge_means"] = {"waiting": 0.0}

    assert not any("per_host" in hint.text for hint in explained(facts).hints)


def test_a_run_whose_downloads_all_failed_is_told_as_too_little() -> None:
    facts = run(
        stage("thread", 4, items=20, wall=1.0, cpu=0.001, blocked=0.1),
        stage("process", 2, items=0, wall=1.0, cpu=0.0),
    )
    told = explained(facts)

    assert () == told.choices
    assert "too little" in told.verdict[1]


def test_a_run_that_never_opened_its_stages_is_told_as_unknown() -> None:
    told = explained({"counts": {"processed": 0}, "stages": {}, "line_seconds": 0.0})

    assert None is told.bottleneck.stage
