"""A thread's name reaches the kernel, number and all; the start of a process is on the clock of the spans.

And what a worker finds out about the GIL while a custom step works.
"""

import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from batchproc.executors import ProcessExecutor
from batchproc.explain.run_model import LEAST_ASKS
from batchproc.measure.clocks import allow_reader, name_thread, shortened
from batchproc.model import GilAsks
from batchproc.record.run_parts import StepRecord
from batchproc.transform.plan import Transform, build_steps
from tests.executors.stages import source
from tests.measure.linux import on_linux
from tests.transform.drawing import encoded, item, photo

TICK_SECONDS = 0.01


@on_linux
def test_the_kernel_knows_the_thread_by_its_role() -> None:
    names: list[str] = []

    def body() -> None:
        name_thread("download-17")
        names.append(Path(f"/proc/self/task/{threading.get_native_id()}/comm").read_text())

    thread = threading.Thread(target=body)
    thread.start()
    thread.join()

    assert names == ["download-17\n"]


def test_a_long_name_keeps_its_number() -> None:
    assert shortened("download-3") == "download-3"
    assert shortened("transform-with-long-name-12") == "transform-wi-12"
    assert shortened("download-feeder-thread") == "download-feeder"


def test_letting_a_reader_in_is_harmless_without_yama() -> None:
    assert allow_reader(1) in (True, False)


@on_linux
def test_a_process_knows_that_it_began_while_its_parent_was_starting_it() -> None:
    code = "from batchproc.measure.clocks import process_started; print(process_started())"
    before = time.perf_counter()
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = time.perf_counter()

    assert before - TICK_SECONDS <= float(result.stdout) < after


STEPS = """
import time

import batchproc
from PIL import ImageFilter


def spin(seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def blur(image, seconds):
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        image.filter(ImageFilter.GaussianBlur(9))


def python(image):
    spin(0.02)
    return image


def pillow(image):
    blur(image, 0.02)
    return image


def both(image):
    spin(0.02)
    blur(image, 0.02)
    return image


def waits(image):
    time.sleep(0.02)
    return image


@batchproc.step(holds_gil=True)
def declared(image):
    return python(image)
"""


def asked(tmp_path: Path, name: str, images: int = 12) -> tuple[GilAsks, float]:
    """What a worker process found of a step, and the CPU seconds in it."""
    part = f"steps.steps_that_hold:{name}"
    (tmp_path / "steps_that_hold.py").write_text(STEPS)
    stage = Transform(
        steps=build_steps([{"op": f"steps_that_hold:{name}"}], tmp_path), temporary_folder=str(tmp_path)
    )
    image = item(encoded(photo(256, 256), "PNG"))
    values = [replace(image, source=source(number)) for number in range(images)]
    with ProcessExecutor(workers=1, preload=stage.preload) as executor:
        spans = [outcome.spans[-1] for outcome in executor.run(stage, iter(values))]
    found = sum((span.gil.get(part, GilAsks()) for span in spans), GilAsks())
    return found, sum(span.parts[part][1] for span in spans)


@on_linux
@pytest.mark.parametrize(
    ("name", "least", "most"), [("python", 0.75, 1.0), ("pillow", 0.0, 0.25), ("both", 0.25, 0.75)]
)
def test_a_worker_process_finds_out_what_a_custom_step_holds(
    tmp_path: Path, name: str, least: float, most: float
) -> None:
    asks, _ = asked(tmp_path, name)

    assert asks.asks >= LEAST_ASKS
    assert least <= asks.held_seconds / asks.seconds <= most


@on_linux
def test_a_step_that_waits_has_no_cpu_to_hold_the_gil_with(tmp_path: Path) -> None:
    asks, cpu_seconds = asked(tmp_path, "waits")

    assert asks.held_seconds <= asks.seconds
    assert cpu_seconds < 0.25 * 12 * 0.02


def test_a_step_that_declares_what_it_does_is_not_asked_about(tmp_path: Path) -> None:
    asks, _ = asked(tmp_path, "declared", images=3)

    assert GilAsks() == asks


def test_asks_of_two_machines_are_pooled_by_their_number() -> None:
    one = StepRecord(op="mine:work", gil_held_fraction=1.0, gil_asks=30)
    other = replace(one, gil_held_fraction=0.0, gil_asks=10)

    assert (0.75, 40) == (one.pooled(other).gil_held_fraction, one.pooled(other).gil_asks)
    assert one == one.pooled(None) == one.pooled(StepRecord(op="mine:work"))
