"""The sampler watches from outside, ends with its parent, and never breaks the run."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import psutil
import pytest

from batchproc.measure import sampler as sampler_module
from batchproc.measure.clocks import name_thread
from batchproc.measure.sampler import Gauges, Sampler
from batchproc.measure.samples import Samples
from tests.measure.linux import on_linux


def count_up(role: str, turns: int) -> None:
    name_thread(role)
    total = 0
    for number in range(turns):
        total += number


def run_two_threads(gauges: Gauges) -> None:
    """About a second of pure Python in two threads: one of them waits for the GIL at any moment."""
    threads = [threading.Thread(target=count_up, args=(f"spin-{i}", 15_000_000)) for i in range(2)]
    for thread in threads:
        thread.start()
    gauges.put("in_flight", 2)
    for thread in threads:
        thread.join()
        gauges.add("done_total")


@pytest.fixture(scope="module")
def samples() -> Samples:
    with Gauges(["in_flight", "done_total"]) as gauges:
        with Sampler(gauges) as sampler:
            run_two_threads(gauges)
        assert sampler.failure == ""
        result = sampler.result()
    assert result is not None
    return result


@on_linux
def test_spinning_threads_run_or_wait_for_the_gil_and_do_nothing_else(samples: Samples) -> None:
    """How much of each depends on the machine's other load: while no core is free, nobody waits for the GIL."""
    shares = samples.waits_of("spin")

    assert samples.gil_method == "sampled"
    assert shares is not None
    assert shares.threads == 2
    assert shares.gil_share is not None
    assert shares.gil_share > 0.0
    assert shares.shares["lock"] == 0.0
    assert shares.gil_share + shares.shares["running"] == pytest.approx(1.0)


def test_the_gauges_arrive(samples: Samples) -> None:
    assert samples.gauge_peaks["in_flight"] == 2.0
    assert samples.series["done_total"][-1] == 2.0


def test_a_short_run_has_a_first_row_and_a_last_one_with_memory(samples: Samples) -> None:
    assert len(samples.series["t_seconds"]) >= 2
    assert samples.peak_rss_bytes is not None
    assert samples.series["rss_bytes"][0] is not None
    if sys.platform.startswith("linux"):
        assert None not in (samples.series["pss_bytes"][0], samples.series["pss_bytes"][-1])


def test_the_parent_is_told_from_the_sampler(samples: Samples) -> None:
    main, own = samples.process("main"), samples.process("sampler")

    assert main is not None
    assert own is not None
    assert main.cpu_seconds > own.cpu_seconds
    assert samples.machine.cores == psutil.cpu_count()


def test_json_brings_the_same_samples_back(samples: Samples) -> None:
    assert samples == msgspec.json.decode(msgspec.json.encode(samples), type=Samples)


def test_the_sampler_ends_with_the_block() -> None:
    with Gauges(["in_flight"]) as gauges, Sampler(gauges) as sampler:
        pid = sampler.pid
        assert pid is not None
        assert psutil.pid_exists(pid)

    assert not psutil.pid_exists(pid)
    assert sampler.result() is not None


def test_the_sampler_ends_when_its_parent_is_killed() -> None:
    code = (
        "import sys\n"
        "from batchproc.measure.sampler import Gauges\n"
        "from batchproc.measure.sampler import Sampler\n"
        "sampler = Sampler(Gauges(['a'])).__enter__()\n"
        "print(sampler.pid, sampler._gauges.path, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stdout is not None
        pid, path = it.stdout.readline().split()
        sampler = psutil.Process(int(pid))
        it.kill()
    Path(path).unlink()

    sampler.wait(timeout=10)  # raises when it is still there


@on_linux
def test_a_signal_to_the_run_does_not_end_the_sampler() -> None:
    with Gauges(["in_flight"]) as gauges, Sampler(gauges) as sampler:
        assert sampler.pid is not None
        assert os.getpgid(sampler.pid) != os.getpgid(0)
        watching = psutil.Process(sampler.pid)
        while not ignores_sigterm(sampler.pid):
            assert watching.is_running()
        watching.terminate()

    assert sampler.result() is not None


def ignores_sigterm(pid: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    mask = next(int(line.split()[1], 16) for line in lines if line.startswith("SigIgn:"))
    return bool(mask >> (signal.SIGTERM - 1) & 1)


def test_a_sampler_that_cannot_start_leaves_a_reason_and_no_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module.sys, "executable", os.devnull)
    with Gauges([]) as gauges, Sampler(gauges) as sampler:
        pass

    assert sampler.result() is None
    assert sampler.failure.startswith("the sampler did not start")


def test_a_sampler_that_breaks_leaves_a_reason_and_no_samples() -> None:
    with Gauges(["a"]) as gauges:
        gauges.path.unlink()
        with Sampler(gauges) as sampler:
            pass

    assert sampler.result() is None
    assert "FileNotFoundError" in sampler.failure


def test_a_snapshot_shows_what_was_seen_so_far_and_the_watch_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sampler_module, "SNAPSHOT_SECONDS", 60.0)  # else one that starts slowly answers too late
    with Gauges(["in_flight", "done_total"]) as gauges:
        with Sampler(gauges) as sampler:
            gauges.put("done_total", 3)
            first = sampler.snapshot()
            gauges.put("done_total", 5)
            second = sampler.snapshot()
        result = sampler.result()
    assert first is not None
    assert second is not None
    assert result is not None
    assert first.gauge_peaks["done_total"] == 3.0
    assert second.gauge_peaks["done_total"] == 5.0
    assert result.ended > second.ended > first.ended
    assert result.looks > second.looks > first.looks
    assert result.peak_rss_bytes is not None


def test_a_snapshot_at_a_sampler_that_is_gone_shows_nothing() -> None:
    with Gauges(["in_flight", "done_total"]) as gauges, Sampler(gauges) as sampler:
        assert sampler.pid is not None
        os.kill(sampler.pid, signal.SIGKILL)
        assert sampler.snapshot() is None
        assert sampler.snapshot() is None
    assert "broke" in sampler.failure


def test_a_dismissed_sampler_is_gone_at_once_and_has_no_result() -> None:
    with Gauges(["in_flight", "done_total"]) as gauges, Sampler(gauges) as sampler:
        pid = sampler.pid
        sampler.dismiss()
        assert pid is not None
        assert not psutil.pid_exists(pid)
    assert sampler.result() is None
    assert sampler.snapshot() is None
