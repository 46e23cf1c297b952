"""Why a run ended as it did, in one line for a mail of cron, a health check and the log. Pure, without secrets.

    small: 30 of 100 items failed, over max_failed_ratio = 0.1: 20 http.404, 10 dns; exit 3, /srv/out/runs/2026…
"""

import re
from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath

from batchproc.errors import BatchprocError, UsageError
from batchproc.record.run_json import RunRecord
from batchproc.redact import printable, redact_text

LONGEST = 200  # characters, `error: ` or `warning: ` before it included
ROOM = LONGEST - len("warning: ")
JOB_SHOWN = 40
CODES_SHOWN = 5
LONG_PATH = re.compile(r"(?<![\w:/.])/[^\s:;,]{30,}")  # its end says which one it is
# What is shorter says less: codes go before the folder's parents, and one code stays as long as it can.
SHAPES = [(CODES_SHOWN, True), (4, True), (3, True), (3, False), (2, False), (1, False), (0, False)]


def exit_line(
    job: str, reason: str, *, exit_code: int, codes: Mapping[str, int] | None = None, folder: str = ""
) -> str:
    """The line, at most `ROOM` characters: the job, the reason, codes with their numbers, the exit code, the folder."""
    name, reason = _clipped(_plain(job), JOB_SHOWN), _plain(reason)
    if len(reason) > ROOM // 2:
        reason = LONG_PATH.sub(lambda path: f"…/{'/'.join(path[0].rsplit('/', 2)[1:])}", reason)
    for codes_shown, whole in SHAPES:
        shown = shown_codes(codes or {}, codes_shown)
        tail = f"{f': {shown}' if shown else ''}; exit {exit_code}{_place(folder, whole=whole)}"
        if len(name) + 2 + len(reason) + len(tail) <= ROOM:
            break
    return f"{name}: {_clipped(reason, max(0, ROOM - len(name) - 2 - len(tail)))}{tail}"


def run_line(record: RunRecord, folder: PurePath) -> str:
    """The line on a run that came to its end; empty when it ended well."""
    if not record.reason:
        return ""
    codes = (Counter(record.failures) + Counter(record.deferrals)).most_common()
    return exit_line(record.job, record.reason, exit_code=record.exit_code, codes=dict(codes), folder=str(folder))


def error_line(job: str, error: BatchprocError) -> str:
    """The line on a run that an error ended before it had a record."""
    reason = str(error)
    if isinstance(error, UsageError):
        reason = str(error.problems[0])
        if more := len(error.problems) - 1:
            reason = f"{_clipped(_plain(reason), LONGEST // 2)} (and {more} more)"
    return exit_line(job, reason, exit_code=error.exit_code)


def shown_codes(codes: Mapping[str, int], most: int = CODES_SHOWN) -> str:
    """As `12 http.404, 3 dns`: the first codes with their numbers, and how many more there are."""
    shown = [f"{number:,} {_plain(code)}" for code, number in list(codes.items())[:most]]
    if not shown:
        return ""
    more = len(codes) - len(shown)
    return f"{', '.join(shown)}{f' and {more} more codes' if more > 0 else ''}"


def _plain(text: str) -> str:
    """On one line, without secrets and what plays tricks."""
    return redact_text(printable(" ".join(text.split())))


def _place(folder: str, *, whole: bool) -> str:
    if not folder:
        return ""
    path = PurePath(folder)
    return f", {_plain(folder)}" if whole else f", …/{_clipped(_plain('/'.join(path.parts[-2:])), JOB_SHOWN)}"


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: max(0, length - 1)]}…"
