"""Hand-made runs: the keys of run.json that the explanation reads, from a few figures per image."""

from typing import Any

CPU_BOUND = {"decode": 0.004, "steps.resize": 0.004, "steps.unsharp": 0.010, "encode": 0.001, "write": 0.001}


def step_record(part: str) -> dict[str, Any]:
    """What a run says of a step, by its part of the time; of a custom step nothing."""
    op = part.removeprefix("steps.")
    return {"op": op} if ":" in op else {"op": op, "holds_gil": op == "median", "overhead_seconds": 30e-6}


def stage(
    mode: str,
    workers: int,
    *,
    items: int,
    wall: float,
    cpu: float,
    blocked: float = 0.0,
    gil_wait: float = 0.0,
    run_queue: float = 0.0,
    parts_cpu: dict[str, float] | None = None,
    ipc_parent: float = 0.0003,
    output_blocked: float = 0.0,
) -> dict[str, Any]:
    """One stage; times per item in seconds, `gil_wait`, `run_queue` and `output_blocked` of all workers together."""
    busy = items * (cpu + blocked) + gil_wait + run_queue
    whole, is_process = workers * wall, mode == "process"
    account = {
        "cpu": items * cpu, "run_queue": run_queue, "gil_wait": gil_wait, "network": items * blocked,
        "disk_or_lock": 0.0, "output_blocked": output_blocked, "starved": max(0.0, whole - busy - output_blocked),
        "ipc": 0.0, "startup": 0.0, "unstaffed": 0.0, "unexplained": 0.0,
    }  # fmt: skip
    return {
        "mode": mode, "workers": workers, "tasks": items, "wall_seconds": wall, "busy_seconds": busy,
        "cpu_seconds": items * cpu, "utilisation": min(1.0, busy / whole), "account": account,
        "gil_method": "sampled", "worker_starts": workers if is_process else 0,
        "ipc_parent_cpu_seconds": items * ipc_parent if is_process else 0.0,
        "process_cpu_seconds": items * (cpu + 0.0002) + 0.012 * workers if is_process else None,
        "parts_cpu": {name: items * seconds for name, seconds in (parts_cpu or {}).items()},
        "steps": [step_record(part) for part in parts_cpu or () if part.startswith("steps.")],
        "per_worker": [{"worker": f"w-{number}", "startup_seconds": 0.2} for number in range(workers)],
    }  # fmt: skip


def run(download: dict[str, Any], transform: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A whole run.json, as far as the explanation reads it. Nobody else used the machine of 2 cores."""
    items, wall = download["tasks"], download["wall_seconds"]
    inside = sum(one["cpu_seconds"] for one in (download, transform) if one["mode"] != "process")
    piped = download["ipc_parent_cpu_seconds"] + transform["ipc_parent_cpu_seconds"]
    facts: dict[str, Any] = {
        "counts": {"processed": items}, "line_seconds": wall, "line_startup_seconds": 0.1, "retry_wait_seconds": 0.0,
        "failures_this_run": {}, "stages": {"download": download, "transform": transform},
        "checks": [{"name": "others", "passed": True, "value": 0.0, "text": "other programs used 0.0% of the CPU"}],
        "samples": {
            "machine": {"cores": 2, "busy_share": 0.95, "others_cpu_share": 0.0},
            "processes": [{"role": "main", "cpu_seconds": inside + piped + items * 0.0008}],
        },
        "host": {"cores": 2, "system": "Linux 6.1"},
        "config": {
            "download": {"workers": 32, "per_host": 32}, "transform": {"workers": "auto"},
            "output": {"format": "jpeg"}, "origin": {"images": items},
        },
    }  # fmt: skip
    return facts | changes


def cpu_bound(mode: str = "process", **transform: Any) -> dict[str, Any]:
    """32 download threads that mostly wait, two transform workers that are always busy; the cores set the pace."""
    items, cpu = 1000, 0.020
    wall = items * (cpu + 0.0025) / 2 + 0.3
    return run(
        stage("thread", 32, items=items, wall=wall, cpu=0.0006, blocked=0.07, output_blocked=0.5 * 32 * wall),
        stage(mode, 2, items=items, wall=wall, cpu=cpu, **{"parts_cpu": CPU_BOUND} | transform),
    )


def all_serial(*, items: int = 200) -> dict[str, Any]:
    """One thread for everything."""
    wall = items * (0.0726 + 0.0008 + 0.020) + 0.1
    return run(
        stage("serial", 1, items=items, wall=wall, cpu=0.0006, blocked=0.072),
        stage("serial", 1, items=items, wall=wall, cpu=0.020, parts_cpu=CPU_BOUND),
    )


def held() -> dict[str, Any]:
    """Two transform threads with a median filter: the GIL sets the pace, and the threads wait for it."""
    items = 500
    wall = items * 0.0195
    return run(
        stage("thread", 32, items=items, wall=wall, cpu=0.0006, blocked=0.07, output_blocked=0.5 * 32 * wall),
        stage(
            "thread", 2, items=items, wall=wall, cpu=0.020, gil_wait=0.45 * 2 * wall,
            parts_cpu={"decode": 0.002, "steps.median": 0.017, "encode": 0.001},
        ),
    )  # fmt: skip
