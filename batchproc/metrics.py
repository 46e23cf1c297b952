"""A run's record as Prometheus text, for node_exporter's textfile collector. Pure: a record in, text out.

Format: https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4. Without timestamps, which the
textfile collector refuses. All are gauges: they describe the last run, or the list as the ledger stands.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from batchproc.record.run import RunRecord

MODE = 0o644  # node_exporter is another user
STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending", "absent")

Labels: TypeAlias = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One gauge: its name without the prefix, its help, and its values by label."""

    name: str
    help: str
    values: Sequence[tuple[Labels, float]]


def render(job: str, metrics: Iterable[Metric]) -> str:
    """The text of a metrics file; every line ends, the last one too. A metric without values is left out."""
    lines = [line for metric in metrics if metric.values for line in _lines(job, metric)]
    return "".join(f"{line}\n" for line in lines)


def run_metrics(record: RunRecord) -> Iterator[Metric]:
    """The metrics of a run that came to its end."""
    counts = record.counts
    yield from end_metrics(record.exit_code, _unix(record.ended))
    yield _one("last_run_start_timestamp_seconds", "When the last run began, Unix time.", _unix(record.started))
    yield _one("last_run_duration_seconds", "How long the last run took.", record.wall_seconds)
    yield _one("last_run_processed_items", "Items whose outcome became final in the last run.", counts.processed)
    yield _one("last_run_retried_items", "Retries of the last run.", counts.retried)
    yield _one("last_run_images_per_second", "Images done per second of the last run.", record.images_per_second or 0.0)
    yield _one("last_run_original_bytes", "Bytes of images downloaded by the last run.", record.original_bytes or 0)
    yield _one("last_run_rendition_bytes", "Bytes of images written by the last run.", record.rendition_bytes or 0)
    yield _one("list_items", "Items of the job's list.", counts.items)
    states = [({"state": state}, float(getattr(counts, state))) for state in STATES]
    yield Metric(name="items", help="Items by state, as the ledger stands; absent ones left the list.", values=states)
    yield _by_code("failed_items", "Failed items by code, as the ledger stands.", record.failures)
    yield _by_code("deferred_items", "Items left for the next run, by code.", record.deferrals)


def end_metrics(exit_code: int, ended: float) -> Iterator[Metric]:
    """What is known of a run that ended before it had facts. `ended`: Unix time, seconds."""
    yield _one("last_run_exit_code", "Exit code of the last run; 0 is well.", exit_code)
    yield _one("last_run_end_timestamp_seconds", "When the last run ended, Unix time.", ended)


def _by_code(name: str, text: str, numbers: Mapping[str, int]) -> Metric:
    return Metric(name=name, help=text, values=[({"code": code}, float(number)) for code, number in numbers.items()])


def _one(name: str, text: str, value: float) -> Metric:
    return Metric(name=name, help=text, values=[({}, value)])


def _lines(job: str, metric: Metric) -> Iterator[str]:
    name = f"batchproc_{metric.name}"
    yield f"# HELP {name} {_escape(metric.help)}"
    yield f"# TYPE {name} gauge"
    for labels, value in metric.values:
        shown = ",".join(f'{label}="{_escape_value(text)}"' for label, text in {"job": job, **labels}.items())
        yield f"{name}{{{shown}}} {_number(value)}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_value(text: str) -> str:
    return _escape(text).replace('"', r"\"")


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def _unix(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()
