"""The experiments of a bench that did not happen: numbers of which a test knows what must follow."""

from collections.abc import Sequence
from statistics import median
from typing import Any

JITTER = (0.99, 1.0, 1.01)  # three rounds: too few for an interval, so least and most stand for it


def number(
    name: str, value: float, unit: str = "s", x: float | None = None, spread: Sequence[float] = JITTER
) -> dict[str, Any]:
    """As an experiment writes it."""
    values = [value * each for each in spread]
    return {"name": name, "value": median(values), "unit": unit, "x": x, "x_unit": "", "low": None, "high": None,
            "values": values}  # fmt: skip


def experiment(name: str, numbers: Sequence[dict[str, Any]], *, failure: str | None = None) -> dict[str, Any]:
    """An element of `experiments` in bench.json."""
    return {"name": name, "question": f"what of {name}", "numbers": list(numbers), "failure": failure, "seconds": 3.0,
            "others_cpu_share": 0.01}  # fmt: skip


def steps(*, blur: float = 1.0, median_filter: float = 0.5, python: float = 0.8, cores: int = 2) -> dict[str, Any]:
    """Threads' speed against processes', by step. Serial takes 4 ms; two processes are twice as fast."""
    found = [number("cores", cores, "cores", spread=(1.0,)), number("python.serial_seconds", 0.004),
             number("python.threads_gain", 1.0, "x"), number("python.processes_gain", 2.0, "x"),
             number("blur.rounds_made_again", 2, "rounds", spread=(1.0,))]  # fmt: skip
    for step, ratio in (("blur", blur), ("median", median_filter), ("python", python)):
        found.append(number(f"{step}.threads_against_processes", ratio, "x"))
    return experiment("steps", found)


def workers() -> dict[str, Any]:
    """5 ms of CPU per picture on two cores: 400/s at most; threads get there with two, processes to 360/s."""
    found = [number("cores", 2, "cores", spread=(1.0,)), number("serial_cpu_seconds", 0.005)]
    for mode, rates in (("thread", (200, 400, 396)), ("process", (190, 360, 350))):
        found += [number(f"{mode}.rate", rate, "items/s", x) for x, rate in zip((1, 2, 8), rates, strict=True)]
    return experiment("workers", found)


def latency() -> dict[str, Any]:
    """1 ms of CPU: 1,000/s without latency. Threads multiply the rate as long as they wait."""
    found = []
    for wait in (0, 20, 100):
        found.append(number("one_worker_seconds", 0.001 + wait / 1000, "s/item", wait, spread=(1.0, 1.0, 1.0)))
        for threads in (2, 8):
            found.append(number(f"threads_{threads}_gain", threads if wait else 1.0, "x", wait))
        found.append(number("processes_8_gain", 8.0, "x", wait))
    return experiment("latency", found)


def payload() -> dict[str, Any]:
    """Threads take 4 ms whatever the payload; processes 2 ms and 1 ms more for each MB, as their echo does."""
    found = []
    for size in (0.0, 1e6, 4e6):
        found += [number("work_threads_seconds", 0.004, "s/item", size),
                  number("work_processes_seconds", 0.002 + size * 1e-9, "s/item", size),
                  number("echo_threads_seconds", 20e-6, "s/item", size),
                  number("echo_processes_seconds", 120e-6 + size * 1e-9, "s/item", size)]  # fmt: skip
    return experiment("payload", found)


def startup() -> dict[str, Any]:
    """1 ms for a thread, 21 ms for a process."""
    return experiment("startup", [number("thread_seconds", 0.001), number("process_seconds", 0.021),
                                  number("cold_process_seconds", 0.09)])  # fmt: skip


def job_size(*, start_seconds: float = 0.02) -> dict[str, Any]:
    """4 ms per item in threads and serial, 2 ms in processes after their start: 10 items repay 20 ms."""
    found = []
    for items in (1, 4, 16, 64):
        found += [number(f"{mode}_seconds", 0.004 * items, "s", items) for mode in ("serial", "thread")]
        found.append(number("process_seconds", start_seconds + 0.002 * items, "s", items))
    return experiment("job_size", found)


def memory() -> dict[str, Any]:
    """2 MB per thread, 5 MB per process."""
    return experiment("memory", [number("thread_pss_bytes", 2e6, "bytes/worker"),
                                 number("process_pss_bytes", 5e6, "bytes/worker")])  # fmt: skip


def all_of_them() -> list[dict[str, Any]]:
    """Every experiment that has a chart."""
    return [steps(), workers(), latency(), payload(), startup(), memory(), job_size()]
