"""The bench.json that a bench begins with: the one that an interrupted bench of the same kind left, or a new one."""

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.bench.record import Record, find_unfinished, fingerprint, new_folder
from batchproc.bench.result import MAKESPAN, WHY_MAKESPAN
from batchproc.bench.task import SEED, Task, Tell
from batchproc.config import Config, resolved
from batchproc.measure.machine import describe_machine
from batchproc.version import VERSION


def open_record(task: Task, root: Path, tell: Tell) -> Record:
    """The interrupted bench of the same fingerprint, or a new one."""
    host = describe_machine()
    wanted = fingerprint(
        {
            "version": VERSION,
            "host": host,
            "config": task.config.model_dump(mode="json"),
            "cases": [case.name for case in task.cases],
            "plans": task.plans,
            "length": asdict(task.length),
            "material": task.material.identity(),
        }
    )
    found = None if task.options.fresh else find_unfinished(root, wanted)
    if found is not None:
        tell(f"continuing {found.folder.name}: {len(found.measured)} rounds are made")
        return found
    record = Record(folder=new_folder(root, datetime.now(UTC)), header=_header(task, wanted))
    record.save()
    return record


def header_of(config: Config) -> dict[str, Any]:
    """What every bench.json begins with."""
    return {
        "version": VERSION,
        "job": config.job.name,
        "started": timestamp(),
        "host": describe_machine(),
        "config": resolved(config),
    }


def _header(task: Task, fingerprint_text: str) -> dict[str, Any]:
    """What of bench.json is known before anything runs."""
    return header_of(task.config) | {
        "fingerprint": fingerprint_text,
        "makespan": {"figure": MAKESPAN, "because": WHY_MAKESPAN},
        "settings": asdict(task.length) | {"seed": SEED, "level": task.level, "quick": task.options.quick},
        "baseline": task.schedule.baseline,
        "baseline_again": task.schedule.again,
        "material": task.material.to_json(),
    }


def timestamp() -> str:
    """Now, as bench.json writes it."""
    return datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
