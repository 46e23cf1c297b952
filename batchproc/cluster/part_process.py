"""The process that works through one part: an ordinary run of the job, in a folder of its own, with a life of another.

It gets its order on stdin and lives no longer than whoever holds the other end: a worker that is killed in the middle
of a part leaves nothing behind that asks a server for one image more.
"""

import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.pipeline import RunResult

_START = "import gc; gc.disable(); from batchproc.cluster.part_process import main; main()"  # collecting: a tenth of it
COMMAND = (sys.executable, "-P", "-c", _START)
ENDED_NAME = "ended.json"
LIST_NAME = "part.jsonl"
REST_NAME = "rest.jsonl"
OUTPUT_NAME = "out"
KILLED_SECONDS = 10.0  # for the kernel to take away what was killed


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What one process is to do. `config`: of this part alone, with its output in `folder`."""

    config: "Config"
    folder: Path
    columns: str
    names: tuple[str, ...]
    first_shard: int
    max_runs: int  # that are left to an item which failed for a reason that may pass


def send(order: Order, process: "subprocess.Popen[bytes]") -> None:
    """Gives the process its order; its stdin has to stay open for as long as it is to live."""
    assert process.stdin is not None
    content = pickle.dumps(order)
    process.stdin.write(len(content).to_bytes(8, "big") + content)
    process.stdin.flush()


def end(process: "subprocess.Popen[bytes]") -> None:
    """Ends the process with its workers, if it lives still. Raises `BatchprocError` when not even that helps."""
    from batchproc.errors import BatchprocError

    assert process.stdin is not None
    if process.poll() is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    with suppress(OSError):
        process.stdin.close()
    try:
        process.wait(KILLED_SECONDS)
    except subprocess.TimeoutExpired:
        raise BatchprocError(f"process {process.pid} does not end: does the disk of this machine answer?") from None


def main() -> None:
    """What the process does."""
    stream = sys.stdin.buffer
    order: Order = pickle.loads(stream.read(int.from_bytes(stream.read(8), "big")))
    threading.Thread(target=_die_with_parent, args=(stream,), name="life", daemon=True).start()
    ended = _work(order)
    new = order.folder / f"{ENDED_NAME}.new"
    new.write_text(json.dumps(ended))
    new.replace(order.folder / ENDED_NAME)  # it may be killed at any instant
    sys.stderr.flush()
    os._exit(0)  # the interpreter's own end waits for the fork server's


def _die_with_parent(stream: IO[bytes]) -> None:
    stream.read()
    os.killpg(0, signal.SIGKILL)  # its workers too: it is the leader of its group


def _work(order: Order) -> dict[str, object]:
    """Runs the part; what came of it, for whoever gave the order."""
    from batchproc.cluster.part_list import PartList
    from batchproc.errors import BatchprocError
    from batchproc.job_file import warm_up
    from batchproc.pipeline import RunOptions, run_job
    from batchproc.progress import Quiet
    from batchproc.transform.steps.table import build_steps

    try:
        steps = build_steps(order.config.transform.steps, search_path=order.config.paths.root)
        warm_up(order.config)
        gc.freeze()
        gc.enable()
        listing = PartList(path=order.folder / LIST_NAME, columns=order.columns, names=order.names)
        options = RunOptions(listing=listing, first_shard=order.first_shard)
        result = run_job(order.config, steps, options, Quiet())
    except BatchprocError as error:
        return {"exit_code": int(error.exit_code), "reason": str(error), "run": None}
    left = _write_rest(order, result)
    reason = str(result.error) if result.error is not None else ""
    return {"exit_code": int(result.exit_code), "reason": reason, "run": result.folder.name, **left}


def _write_rest(order: Order, result: "RunResult") -> dict[str, object]:
    """Writes the lines of what is to be tried again to a file; how many items, and how many were never reached."""
    from batchproc.cluster.plan import decode_line
    from batchproc.ledger import LedgerView
    from batchproc.sink import Layout

    with LedgerView.open_view(Layout(output=order.config.paths.output).ledger_path) as ledger:
        due = {source.key for source in ledger.work(max_runs=order.max_runs)}
    if due:
        with (order.folder / LIST_NAME).open("rb") as lines, (order.folder / REST_NAME).open("wb") as rest:
            rest.writelines(line for line in lines if decode_line(line).key in due)
    return {"due": len(due), "pending": result.counts.pending}
