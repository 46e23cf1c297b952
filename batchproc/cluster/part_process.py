"""The process of a worker that works through parts, one after the other: each an ordinary run in a folder of its own.

It gets its orders on stdin and lives no longer than whoever holds the other end: a worker that is killed in the middle
of a part leaves nothing behind that asks a server for one image more. What a run imports, and the fork server of its
workers, are there for the next part; whatever did not end as it should costs the process, and the next part gets
another one.
"""

import gc
import json
import os
import pickle
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

if TYPE_CHECKING:
    from batchproc.config import Config
    from batchproc.pipeline import RunResult
    from batchproc.record.run_json import RunRecord

_START = "import gc; gc.disable(); from batchproc.cluster.part_process import main; main()"  # collecting: a tenth of it
COMMAND = (sys.executable, "-P", "-c", _START)
LIST_NAME = "part.jsonl"
REST_NAME = "rest.jsonl"
OUTPUT_NAME = "out"
KILLED_SECONDS = 10.0  # for the kernel to take away what was killed
MOST_PARTS = 50  # of one process: whatever a run leaves in memory goes with it
IDLE_SECONDS = 60.0  # after which one without an order ends by itself: its run's driver may be gone without a word
ERROR_CHARACTERS = 2_000
SHARED = (  # of a run's record: what the whole job's is made of
    "schema", "counts", "line_seconds", "line_startup_seconds", "leg", "retry_wait_seconds", "pause_wait_seconds",
    "failures_this_run", "original_bytes", "rendition_bytes", "recipe", "resampler_problem", "stages",
)  # fmt: skip


class Order(Struct, frozen=True, kw_only=True):
    """A part to be done. `config`: of this part alone, with its output in `folder`."""

    config: "Config"
    folder: Path
    columns: str
    names: tuple[str, ...]
    first_shard: int
    max_runs: int  # that are left to an item which failed for a reason that may pass


class PartProcess:
    """A process as its worker sees it. Used by one thread at a time."""

    def __init__(self) -> None:
        self._errors = TemporaryFile(buffering=0)  # noqa: SIM115  # until `end`
        self._process = subprocess.Popen(
            COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, start_new_session=True
        )
        self._poll = select.poll()
        self._poll.register(self._answers, select.POLLIN)
        self._answer = b""
        self._said_bytes = 0  # before its part
        self._parts = 0
        self._idle_since = 0.0

    @property
    def _answers(self) -> IO[bytes]:
        assert self._process.stdout is not None
        return self._process.stdout

    def send(self, order: Order) -> None:
        """Gives it a part to do."""
        assert self._process.stdin is not None
        self._answer, self._said_bytes = b"", os.fstat(self._errors.fileno()).st_size
        self._parts += 1
        content = pickle.dumps(order)
        with suppress(BrokenPipeError):  # why it ended is on its stderr
            self._process.stdin.write(len(content).to_bytes(8, "big") + content)
            self._process.stdin.flush()

    def has_ended(self, seconds: float) -> bool:
        """Whether its part has, or it has itself; waits so long for that."""
        if self._poll.poll(1000 * seconds):
            more = os.read(self._answers.fileno(), 1 << 16)
            self._answer += more
            return not more or more.endswith(b"\n")
        return False

    def stop(self) -> None:
        """Tells it to commit what it has, and end."""
        self._process.terminate()

    def answer(self) -> dict[str, Any] | None:
        """What came of the part, once that has ended; None where the process ended over it."""
        found: dict[str, Any] | None = json.loads(self._answer) if self._answer.endswith(b"\n") else None
        return found

    def is_fit(self) -> bool:
        """Whether it may be given another part."""
        is_rested = time.monotonic() - self._idle_since > IDLE_SECONDS / 2
        return not is_rested and self._parts < MOST_PARTS and self._process.poll() is None

    def rest(self) -> None:
        """It waits for another part from now on."""
        self._idle_since = time.monotonic()

    def end(self) -> str:
        """Ends it with its workers, if it lives still; how it ended and what it said last.

        Raises `BatchprocError` when not even that helps.
        """
        from batchproc.errors import BatchprocError

        process = self._process
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            with suppress(OSError):
                stream.close()
        try:
            process.wait(KILLED_SECONDS)
        except subprocess.TimeoutExpired:
            raise BatchprocError(f"process {process.pid} does not end: does the disk of this machine answer?") from None
        with self._errors as errors:
            size = os.fstat(errors.fileno()).st_size
            last = os.pread(errors.fileno(), ERROR_CHARACTERS, max(self._said_bytes, size - ERROR_CHARACTERS))
        return f"ended with {process.returncode}: {last.decode(errors='replace').strip() or 'it said nothing'}"


_idle: list[tuple[str, PartProcess]] = []  # each with the run of which it has done a part
_lock = threading.Lock()  # of `_idle`


def take_process(run: str) -> PartProcess:
    """One that has done a part of this run already, or a new one: it imports a job's own steps once.

    Ends those of any run that wait no more: of one whose driver is gone without a word nobody else will.
    """
    with _lock:
        unfit = [process for _, process in _idle if not process.is_fit()]
        _idle[:] = [one for one in _idle if one[1] not in unfit]
        found = next((one for one in _idle if one[0] == run), None)
        if found is not None:
            _idle.remove(found)
    for process in unfit:
        process.end()
    return PartProcess() if found is None else found[1]


def keep_process(run: str, process: PartProcess) -> None:
    """It has done a part as it should, and waits for another of the same run."""
    process.rest()
    if process.is_fit():
        with _lock:
            _idle.append((run, process))
    else:
        process.end()


def end_idle_processes(*runs: str) -> None:
    """Nothing more of these runs will come; of no run at all where none is named."""
    with _lock:
        waiting = [one for one in _idle if not runs or one[0] in runs]
        _idle[:] = [one for one in _idle if one not in waiting]
    for _, process in waiting:
        process.end()


def main() -> None:
    """What the process does."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)  # what a step prints is no answer
    os.close(nowhere)
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(os.fdopen(os.dup(0), "rb"), orders), name="life", daemon=True).start()
    with suppress(queue.Empty):
        while True:
            ended = _work(pickle.loads(orders.get(timeout=IDLE_SECONDS)))
            sys.stderr.flush()
            content = json.dumps(ended).encode() + b"\n"
            while content:
                content = content[os.write(answers, content) :]
    os._exit(0)  # the interpreter's own end waits for the fork server's


def _listen(stream: IO[bytes], orders: "queue.SimpleQueue[bytes]") -> None:
    """Takes orders; the end of the stream is that of its workers too: it is the leader of its group."""
    while size := stream.read(8):
        orders.put(stream.read(int.from_bytes(size, "big")))
    os.killpg(0, signal.SIGKILL)


def _work(order: Order) -> dict[str, object]:
    """Runs a part; what came of it, for whoever gave the order."""
    from batchproc.cluster.shard_plan import PartList
    from batchproc.errors import BatchprocError
    from batchproc.job_file import warm_up
    from batchproc.pipeline import RunOptions, run_job
    from batchproc.progress import Quiet
    from batchproc.transform.plan import build_steps

    os.chdir(order.folder)
    try:
        steps = build_steps(order.config.transform.steps, search_path=order.config.paths.root)
        warm_up(order.config)
        if not gc.isenabled():
            gc.freeze()
            gc.enable()
        listing = PartList(path=order.folder / LIST_NAME, columns=order.columns, names=order.names)
        options = RunOptions(listing=listing, first_shard=order.first_shard)
        result = run_job(order.config, steps, options, Quiet())
    except BatchprocError as error:
        return {"exit_code": int(error.exit_code), "reason": str(error), "record": None}
    left = _write_rest(order, result)
    reason = str(result.error) if result.error is not None else ""
    return {"exit_code": int(result.exit_code), "reason": reason, "record": _shared(result.record), **left}


def _shared(record: "RunRecord") -> dict[str, object]:
    """What the record of the whole job is made of: of each stage what can be added up, and nothing of its workers."""
    from batchproc.measure.samples import Samples
    from batchproc.record.run_json import to_json

    stages = {}
    for name, stage in record.stages.items():
        connections = replace(stage.connections, hosts=()) if stage.connections else None
        stages[name] = replace(stage, per_worker=(), connections=connections)
    facts = to_json(replace(record, stages=stages, samples=Samples(unknown=""), config={}))
    return {name: facts[name] for name in SHARED}


def _write_rest(order: Order, result: "RunResult") -> dict[str, object]:
    """Writes the lines of what is to be tried again to a file; how many items, and how many were never reached."""
    from batchproc.cluster.shard_plan import decode_line
    from batchproc.ledger import LedgerView
    from batchproc.sink import Layout

    with LedgerView.open_view(Layout(output=order.config.paths.output).ledger_path) as ledger:
        due = {source.key for source in ledger.work(max_runs=order.max_runs)}
    if due:
        with (order.folder / LIST_NAME).open("rb") as lines, (order.folder / REST_NAME).open("wb") as rest:
            rest.writelines(line for line in lines if decode_line(line).key in due)
    return {"due": len(due), "pending": result.counts.pending}
