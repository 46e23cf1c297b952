"""The whole explanation: its rules with their counter-checks, unknown, and no number from nowhere."""

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from batchproc.explain.findings import explain
from batchproc.record.explanation import (
    Advice,
    BreakEvenReason,
    CeilingReason,
    Choice,
    CrossoverReason,
    Doubt,
    GilDoubt,
    Hint,
    Judgement,
    Rank,
)
from batchproc.record.run_json import RunRecord, record_of, to_json, write_text
from tests.explain.runs import CPU_BOUND, all_serial, cpu_bound, held, run, stage

NUMBER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?)\s*(ms|µs|s|%|min)?(?![\w.])")
UNITS = {"": 1.0, "s": 1.0, "ms": 1e-3, "µs": 1e-6, "%": 0.01, "min": 60.0}


def explained(facts: dict[str, Any]) -> RunRecord:
    return explain(record_of(facts))


def choice(told: RunRecord, name: str) -> Choice:
    return next(one for one in told.choices if one.stage == name)


def ratio(told: RunRecord, name: str, mode: str) -> float | None:
    return next(one.predicted_ratio for one in choice(told, name).alternatives if one.mode == mode)


def advice_of(told: RunRecord) -> dict[str, Hint]:
    return {hint.code: hint for hint in told.hints}


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

    values = choice(told, "download").values
    assert 0.8 < values["network_share"] <= 1.0
    assert values["downloads_at_once"] > 1.0
    assert (ratio(told, "download", "serial") or 1.0) < 0.5


def test_a_model_that_misses_its_run_says_less_about_waiting_and_nothing_about_modes() -> None:
    facts = cpu_bound()
    told = explained(facts | {"line_seconds": 2 * facts["line_seconds"]})

    assert Judgement.MODEL_MISSES == choice(told, "download").code
    assert {None} == {one.predicted_ratio for one in choice(told, "download").alternatives}
    assert "downloads_at_once" not in choice(told, "download").values
    assert BreakEvenReason.UNKNOWN == told.break_even.code


def test_unexplained_seconds_forbid_a_verdict_on_that_stage() -> None:
    facts = cpu_bound()
    facts["checks"].append({"name": "remainder.transform", "value": 0.08, "passed": False, "text": "8%"})
    told = explained(facts)

    assert Judgement.UNEXPLAINED == choice(told, "transform").code
    assert 0.08 == choice(told, "transform").values["unexplained_share"]
    assert Judgement.UNEXPLAINED != choice(told, "download").code


def test_released_steps_make_threads_as_good_as_processes() -> None:
    told = explained(cpu_bound())

    assert (ratio(told, "transform", "thread") or 0.0) > 0.95
    assert (told.crossover.cores or 0.0) > 8.0
    assert BreakEvenReason.NEVER == told.break_even.code


def test_a_held_gil_with_waiting_threads_asks_for_processes() -> None:
    told = explained(held())

    assert (ratio(told, "transform", "process") or 0.0) > 1.5
    assert (told.crossover.cores or 9.0) < 1.5
    assert (told.break_even.items or 0.0) > 1
    assert {Advice.CHANGE_MODE, Advice.STEPS_HOLD_GIL} <= advice_of(told).keys()
    assert "process" == advice_of(told)[Advice.CHANGE_MODE].values["mode"]


def test_held_steps_whose_threads_did_not_wait_are_doubted() -> None:
    facts = held()
    facts["stages"]["transform"]["account"]["gil_wait"] = 0.0
    told = explained(facts)

    values = choice(told, "transform").values
    assert (GilDoubt.WAITED_LESS, 0.0) == (values["phi_doubt"], values["waited"])
    assert pytest.approx(0.41, abs=0.005) == values["waited_expected"]
    assert CrossoverReason.GIL_UNKNOWN == told.crossover.code
    assert Advice.STEPS_HOLD_GIL not in advice_of(told)


def test_released_steps_whose_threads_waited_are_doubted() -> None:
    told = explained(cpu_bound("thread", gil_wait=12.0))

    assert GilDoubt.WAITED_MORE == choice(told, "transform").values["phi_doubt"]
    assert None is told.crossover.cores


def test_a_step_of_the_users_own_leaves_the_crossover_unknown() -> None:
    told = explained(cpu_bound(parts_cpu={"decode": 0.002, "steps.mine:work": 0.018}))

    assert (None, None) == (told.crossover.phi, told.crossover.cores)
    assert CrossoverReason.GIL_UNKNOWN == told.crossover.code
    assert None is told.break_even.items


def test_more_workers_than_cores_is_said_on_a_quiet_machine_only() -> None:
    crowded = cpu_bound("process", run_queue=20.0)
    crowded["stages"]["transform"] |= {"workers": 8}
    noisy = json.loads(json.dumps(crowded))
    noisy["checks"] = [{"name": "others", "passed": False, "value": 0.3, "text": "other programs used 30%"}]

    quiet_advice, noisy_advice = advice_of(explained(crowded)), advice_of(explained(noisy))
    assert (2, 8) == tuple(quiet_advice[Advice.FEWER_WORKERS].values[key] for key in ("workers", "workers_now"))
    assert Advice.FEWER_WORKERS not in noisy_advice
    assert {"check": "others"} == noisy_advice[Advice.MEASURE_AGAIN].values


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
    found = choice(explained(facts), "download")

    assert Judgement.OPEN == found.code
    assert {"serial": Rank.WORSE, "process": Rank.OPEN} == {
        one.mode: one.rank for one in found.alternatives if one.mode != "thread"
    }


def test_refusing_servers_are_named() -> None:
    told = explained(cpu_bound() | {"failures_this_run": {"rate": 3, "http.404": 9}})

    assert {"rate": 3} == advice_of(told)[Advice.SERVER_REFUSED].values


def test_a_busy_parent_with_starving_processes_is_a_suspicion_only() -> None:
    items, wall = 1000, 4.0
    facts = run(
        stage("thread", 32, items=items, wall=wall, cpu=0.0006, blocked=0.07),
        stage("process", 2, items=items, wall=wall, cpu=0.002, ipc_parent=0.002),
    )
    facts["samples"]["processes"] = [{"role": "main", "cpu_seconds": 3.9}]

    assert 0.9 < advice_of(explained(facts))[Advice.PIPE_SUSPECTED].values["main_share"]


def test_hosts_that_are_not_known_leave_per_host_unknown() -> None:
    facts = cpu_bound()
    facts["config"]["origin"] = None
    ceilings = {one.name: one for one in explained(facts).ceilings["download"]}

    assert None is ceilings["per_host"].rate_per_second
    assert CeilingReason.HOSTS_UNKNOWN == ceilings["per_host"].code
    assert None is ceilings["network"].rate_per_second


def test_nothing_processed_is_explained_as_unknown() -> None:
    empty = stage("thread", 2, items=0, wall=1.0, cpu=0.0, parts_cpu=CPU_BOUND)
    told = explained(run(empty, empty))

    assert () == told.choices
    assert Doubt.TOO_LITTLE == told.crossover.code


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
    known += [1 / other.predicted_ratio for one in told.choices for other in one.alternatives if other.predicted_ratio]

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

    assert pytest.approx(3.9, abs=0.05) == told.bottleneck.downloads_allowed
    hint = advice_of(told)[Advice.MORE_PER_HOST]
    assert 4 == hint.values["per_host"]
    assert (hint.gain or 0.0) > 1.5
    assert ["per_host"] == [one.name for one in told.ceilings["download"] if one.binds]
    assert (ratio(told, "transform", "serial") or 0.0) > 0.95


def test_idle_workers_without_waiting_items_say_nothing_about_hosts() -> None:
    facts = limited_by_hosts()
    facts["samples"]["gauge_means"] = {"waiting": 0.0}

    assert Advice.MORE_PER_HOST not in advice_of(explained(facts))


def test_a_run_whose_downloads_all_failed_is_told_as_too_little() -> None:
    facts = run(
        stage("thread", 4, items=20, wall=1.0, cpu=0.001, blocked=0.1),
        stage("process", 2, items=0, wall=1.0, cpu=0.0),
    )
    told = explained(facts)

    assert () == told.choices
    assert Doubt.TOO_LITTLE == told.crossover.code


def test_a_run_that_never_opened_its_stages_is_told_as_unknown() -> None:
    told = explained({"counts": {"processed": 0}, "stages": {}, "line_seconds": 0.0})

    assert None is told.bottleneck.stage
