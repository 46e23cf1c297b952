"""An open executor runs batch after batch in any mode; a comparison gives every plan the same rounds."""

from typing import Any

import pytest

from batchproc.errors import ExecutorError
from batchproc.lab import batches as batches_module
from batchproc.lab.batches import Echo, OpenExecutor, Remember, changes, executor_of, interleave, plain_items
from batchproc.measure.samples import MachineTimes
from batchproc.model import Item, Mode, Outcome


def numbers(outcomes: tuple[Outcome, ...]) -> list[int]:
    return sorted(one.source.index for one in outcomes if isinstance(one, Item))


@pytest.mark.parametrize("mode", list(Mode))
def test_every_item_of_a_batch_comes_out_before_the_next_batch(mode: Mode) -> None:
    with OpenExecutor(executor_of(mode, 2, Echo()), Echo()) as opened:
        batches = [opened.batch(plain_items([None] * count)) for count in (5, 1, 40)]

    assert [list(range(count)) for count in (5, 1, 40)] == [numbers(batch.outcomes) for batch in batches]
    assert all(batch.seconds > 0 for batch in batches)


class Failing(Echo):
    def __call__(self, item: Item[Any], lap: Any) -> Any:
        raise RuntimeError("broken")


def test_a_failed_item_ends_the_experiment() -> None:
    executor = executor_of(Mode.THREAD, 1, Failing())

    with pytest.raises(ExecutorError, match=r"internal\.bug"), OpenExecutor(executor, Failing()) as opened:
        opened.batch(plain_items([None]))


def machine(busy_seconds: float) -> MachineTimes:
    return MachineTimes(
        cores=2, busy_seconds=busy_seconds, total_seconds=1.0, steal_seconds=None, throttled_seconds=None
    )


def test_a_comparison_gives_each_plan_every_round_and_a_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "machine_times", lambda: machine(0.0))
    changes.clear()
    plans = {"serial": (Mode.SERIAL, 1), "threads": (Mode.THREAD, 2)}

    found = interleave(Remember(), plans, plain_items([None] * 3), rounds=2)

    assert {"serial": 2, "threads": 2} == {name: len(batches) for name, batches in found.batches.items()}
    assert 2 * 3 * (2 + 1) == len(changes)
    assert 0 == found.made_again


def test_disturbed_rounds_are_made_again_as_often_as_there_are_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    busy = iter(range(0, 1_000_000, 1000))
    monkeypatch.setattr(batches_module, "machine_times", lambda: machine(float(next(busy))))
    changes.clear()

    found = interleave(Remember(), {"serial": (Mode.SERIAL, 1)}, plain_items([None]), rounds=3)

    assert (3, 3) == (found.made_again, len(found.batches["serial"]))
    assert 1 + 3 + 3 == len(changes)
