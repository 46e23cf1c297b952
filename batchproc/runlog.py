"""`log.jsonl`: what happened in a run, a JSON object per line, written as it happens and safe to show.

Every record has `time` (UTC), `level` and `event`. URLs are redacted, control characters escaped.
"""

import json
import os
import threading
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchproc.model import Failure
from batchproc.redact import printable, redact_text, redact_url

FAILURES_PER_CODE = 1_000  # the rest is counted: failures.jsonl has them all
EARLY_RECORDS = 100  # kept until the run has its folder
LONGEST_TEXT = 6_000


def _now() -> datetime:
    return datetime.now(UTC)


class RunLog:
    """The log of one run. Its methods may be called from any thread.

    A log that cannot be written fails nothing: records are dropped and counted in `lost`. Memory is one count per
    failure code. Shared and mutable, all under `_lock`: the path, the early records, the counts. No file stays open.
    """

    def __init__(self, *, now: Callable[[], datetime] = _now, failures_per_code: int = FAILURES_PER_CODE) -> None:
        self.lost = 0  # records that could not be written
        self._now = now
        self._failures_per_code = failures_per_code
        self._lock = threading.Lock()
        self._path: Path | None = None
        self._early: list[bytes] = []
        self._failures: Counter[str] = Counter()

    def open(self, path: Path) -> None:
        """Writes what was recorded before to `path`, and all that follows."""
        with self._lock:
            self._path = path
            early, self._early = self._early, []
            for line in early:
                self._write(path, line)

    def record(self, event: str, level: str = "info", **fields: Any) -> None:
        """Writes one record. Values are JSON-safe; strings are redacted and escaped here."""
        moment = self._now().astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        record = {"time": moment, "level": level, "event": event} | {name: _safe(fields[name]) for name in fields}
        line = json.dumps(record, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"
        with self._lock:
            if self._path is not None:
                self._write(self._path, line)
            elif len(self._early) < EARLY_RECORDS:
                self._early.append(line)
            else:
                self.lost += 1

    def failed(self, failure: Failure) -> None:
        """Writes a failed item, the first ones of each code; the others are counted."""
        with self._lock:
            self._failures[failure.code] += 1
            if self._failures[failure.code] > self._failures_per_code:
                return
        self.record(
            "item.failed",
            "warning",
            code=failure.code,
            stage=failure.stage,
            outcome=str(failure.disposition),
            line=failure.source.line,
            url=redact_url(failure.source.url),
            attempts=failure.attempts,
            message=failure.message,
        )

    def unwritten_failures(self) -> dict[str, int]:
        """How many failures of each code were counted and not written."""
        with self._lock:
            counts = dict(self._failures)
        most = self._failures_per_code
        return {code: number - most for code, number in counts.items() if number > most}

    def _write(self, path: Path, line: bytes) -> None:
        """Appends a whole line or nothing. A full disk may take a part of it, which is taken back."""
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
            try:
                written = os.write(descriptor, line)
                if written < len(line):
                    self.lost += 1
                    os.ftruncate(descriptor, os.fstat(descriptor).st_size - written)
            finally:
                os.close(descriptor)
        except OSError:
            self.lost += 1


def _safe(value: Any) -> Any:
    if isinstance(value, str):
        return printable(redact_text(value[:LONGEST_TEXT]))
    if isinstance(value, dict):
        return {printable(str(name)): _safe(entry) for name, entry in value.items()}
    return [_safe(entry) for entry in value] if isinstance(value, list | tuple) else value
