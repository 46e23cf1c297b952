"""Fifty nights of one job, none like the other: `python -m tests.campaign.night --starts 50 --seed 1`.

A job like `configs/nightly.toml`, a list and a server that change between the starts, and in every start something
that happens in real nights (see `mischief`). After each one `batchproc status` is compared with the truth, and at the
end the job with one that nobody ever disturbed.
"""

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice, zip_longest
from pathlib import Path
from random import Random

from tests.campaign.changing import ChangingServer, changing_server, number_of
from tests.campaign.family import started
from tests.campaign.mischief import FLAGS, KINDS, NO_START, SLOW_SECONDS, Broken, Kind, Scenery, fill, read_status
from tests.campaign.nightly_job import small_disk, write_config
from tests.campaign.truth import (
    Truth,
    faults_of_files,
    faults_of_manifests,
    faults_of_status,
    read_truth,
)

MOST_FAULTS = 10  # said of one start; one that is wrong is mostly wrong in all its files
BAD_LINE = "http://"
ADDED = (30, 120)  # lines per night
VANISHED = (0, 40)
RETURNED = (0, 15)
CHANGED = (0, 30)
MOST_FAILED_SHARE = 0.05
MOST_DEFERRED_SHARE = 0.5
IN_FLIGHT = 16 + 16 + 2  # the capacities of both stages; one outcome on its way to the ledger, one to the transform
LONGEST_UNCOMMITTED_SECONDS = 0.5 + 1.5  # the ledger's delay, and a busy machine's


@dataclass(kw_only=True)
class Tally:
    """What the nights came to."""

    kinds: Counter[str] = field(default_factory=Counter)
    exits: Counter[int] = field(default_factory=Counter)
    in_vain: list[int] = field(default_factory=list)  # requests that had to be made again, by start cut short
    untold: list[str] = field(default_factory=list)  # starts that left no row: the ledger cannot know of them
    items: int = 0
    faults: list[str] = field(default_factory=list)


class Nights:
    """One job, night after night."""

    def __init__(self, folder: Path, server: ChangingServer, rng: Random, say: Callable[[str], None]) -> None:
        self.folder = folder
        self.server = server
        self.rng = rng
        self.say = say
        self.tally = Tally()
        self.listed: set[int] = set()
        self.gone: set[int] = set()
        self.rowless: list[int] = []  # the pids of the starts since the last run that left no row
        self.scenery = Scenery(
            config=write_config(folder), output=folder / "disk/out", filler=folder / "disk/filler", server=server,
            rng=rng,
        )  # fmt: skip
        self.before = read_truth(self.scenery.output)

    def start(self, name: str) -> None:
        """One start of this kind, and what is to be seen after it."""
        kind = KINDS[name]
        flags = kind.flags + (self.rng.choice(FLAGS) if kind.is_harmful else ())
        self.tally.kinds[name] += 1
        self.label = f"start {self.tally.kinds.total()} ({' '.join((name, *flags))})"
        if not kind.is_same_list:
            self._change_list()
        first, began = len(self.server.asked), time.time()
        with self._circumstances(kind), started(self.scenery.config, "--quiet", *flags) as family:
            try:
                expected = kind.act(self.scenery, family) | kind.exits
                self.exit_code, ended = family.wait(), time.time()
                self._blame(f"outlived by {command}" for command in family.outlived())
                has_ledger = (self.scenery.output / "batchproc.db").exists()
                status = read_status(self.scenery.config) if has_ledger else {}
            except (Broken, subprocess.TimeoutExpired) as error:
                self._blame([f"{error}; it said: {family.said()}"])
                return
            said = family.said()
        self.tally.exits[self.exit_code] += 1
        truth = read_truth(self.scenery.output)
        self.rowless = [] if truth.run_of(family.parent.pid) else [*self.rowless, family.parent.pid]
        self._blame(self._faults_of_exit(family.parent.pid, expected, truth, said))
        if status:
            self._blame(faults_of_status(status, truth, self.rowless, self.exit_code))
        tidy = not self.rowless and truth.runs[-1].exit_code not in (None, 5)
        unharmed = self.exit_code in (0, 3) and not kind.is_harmful  # else the next start sweeps what a worker left
        self._blame(faults_of_files(truth, self.scenery.output, tidy=tidy and unharmed))
        self._blame(faults_of_manifests(truth, tidy=tidy))
        self._blame(self._faults_of_history(truth, {*flags}))
        self._blame(self._faults_of_requests(truth, first, ended, {*flags}))
        self._blame(self._faults_of_metrics(truth))
        self.before = truth
        self.say(f"{self.label}: exit code {self.exit_code} after {ended - began:.1f} s; {_shown(truth.counts)}")

    def finish(self) -> None:
        """All is well again, and everything is asked for: then nothing is left to do, and all is as if made at once."""
        self.label = "the end"
        self._call("--refresh", "--retry-failed")
        due = {number_of(row.url) for row in read_truth(self.scenery.output).rows.values() if row.is_due}
        first = len(self.server.asked)
        self._call()
        asked = {number_of(each.path) for each in self.server.asked[first:]}
        self._blame(f"picture {number} was requested, and was not due" for number in asked - due - {-1})
        truth = read_truth(self.scenery.output)
        alone = self.scenery.output.with_name("alone")
        self._call("--output", str(alone))
        fresh = read_truth(alone)
        rows = {name for row in truth.of("done").values() if (name := f"images/{row.key[:2]}/{row.key}{row.suffix}")}
        here = {name: digest for name, digest in truth.hashes.items() if name in rows}
        self._blame(f"{name} differs" for name, _ in here.items() ^ fresh.hashes.items())
        for name in ("metadata", "failures"):
            if getattr(truth, name) != getattr(fresh, name):
                mine, other = (each.splitlines() for each in (getattr(truth, name), getattr(fresh, name)))
                first_line = next((pair for pair in zip_longest(mine, other) if pair[0] != pair[1]), "")
                self._blame([f"{name}.jsonl differs from that of a fresh job: {first_line}"])
        pictures = {self.server.url(number): number for number in self.listed}
        for row in truth.of("done").values():
            if row.source_sha256 != _sha256(self.server.content(pictures[row.url])):
                self._blame([f"{row.url} is not what the server has now"])
        self.tally.items = truth.counts["items"]

    def _change_list(self) -> None:
        rng, newest = self.rng, max((*self.listed, *self.gone, -1))
        vanished = set(rng.sample(sorted(self.listed), min(len(self.listed), rng.randint(*VANISHED))))
        known = self.gone & {number_of(row.url) for row in self.before.rows.values()}
        returned = set(rng.sample(sorted(known), min(len(known), rng.randint(*RETURNED))))
        for number in rng.sample(sorted(self.listed), min(len(self.listed), rng.randint(*CHANGED))):
            self.server.versions[number] = self.server.versions.get(number, 0) + 1
        added = set(range(newest + 1, newest + 1 + rng.randint(*ADDED)))
        self.listed = (self.listed - vanished) | returned | added
        self.gone = (self.gone - returned) | vanished
        lines = [self.server.url(number) for number in sorted(self.listed)]
        (self.folder / "list.txt").write_text("".join(f"{line}\n" for line in (BAD_LINE, *lines)))

    @contextmanager
    def _circumstances(self, kind: Kind) -> Iterator[None]:
        """The server and the disk of this night, and all well again after it."""
        self.server.latency_seconds = SLOW_SECONDS if kind.is_slow else 0.005
        if kind.server == "ill":
            self.server.ill = frozenset(self.rng.sample(sorted(self.listed), len(self.listed) // 4))
        if kind.server == "away":
            self.server.fall()
        if kind.free_bytes is not None:
            fill(self.scenery.filler, kind.free_bytes)
        try:
            yield
        finally:
            self.server.ill, self.server.latency_seconds = frozenset(), 0.0
            if kind.server == "away":
                self.server.rise()
            self.scenery.filler.unlink(missing_ok=True)

    def _faults_of_exit(self, pid: int, expected: frozenset[int], truth: Truth, said: str) -> Iterator[str]:
        """What this start's exit code should have been, and what the ledger says that it was."""
        code, row = self.exit_code, truth.run_of(pid)
        if code not in expected or (code == 1 and NO_START not in said):
            yield f"exit code {code}, expected one of {sorted(expected)}; it said: {said}"
        normal = 3 if truth.failed_share > MOST_FAILED_SHARE or truth.deferred_share > MOST_DEFERRED_SHARE else 0
        if code in (0, 3) and code != normal:
            yield f"exit code {code} with {truth.counts}"
        if code > 0 and not said.strip() and (row is not None or code != 130):  # 130: before it had begun
            yield f"exit code {code} without a word"
        if row is None:
            self.tally.untold.append(f"{self.label}: exit code {code}")
            if code in (0, 3):
                yield f"exit code {code}, and no row in the ledger"
        elif code >= 0 and row.exit_code != code:
            yield f"exit code {code}, in the ledger {row.exit_code}"
        elif code == -9 and row.exit_code not in (None, normal):
            yield f"killed, in the ledger {row.exit_code}"

    def _faults_of_history(self, truth: Truth, flags: set[str]) -> Iterator[str]:
        """What was there before and is not any more, and what the list has and the ledger has not."""
        for key, row in self.before.rows.items():
            now = truth.rows.get(key)
            if now is None:
                yield f"{row.url} has no row any more"
            elif row.state == "done" and now.state not in ("done", "staged", "absent"):
                yield f"{row.url} was done and is {now.state} {now.code}"
        if self.exit_code in (0, 3):
            known = {number_of(row.url) for row in truth.rows.values() if row.state != "absent" and row.url != BAD_LINE}
            if known != self.listed:
                yield f"{len(known ^ self.listed)} lines are listed and not in the ledger, or the other way round"
        if self.exit_code in (0, 3) and (left := truth.of("pending", "staged")) and "--max-duration" not in flags:
            yield f"the run came to its end with {len(left)} items pending"

    def _faults_of_requests(self, truth: Truth, first: int, ended: float, flags: set[str]) -> Iterator[str]:
        """Requests for what needs none; and after a run was cut short more of them lost than were in its hands."""
        asked = [asked for asked in self.server.asked[first:] if number_of(asked.path) >= 0]
        settled = set() if "--refresh" in flags else {*self.before.of("done")}
        if "--retry-failed" not in flags:
            settled |= {key for key, row in self.before.of("failed", "quarantined").items() if not row.is_due}
        settled |= {*self.before.of("rejected", "staged")}
        urls = {number_of(row.url): row for row in truth.rows.values()}
        for number in {number_of(each.path) for each in asked}:
            if number in urls and urls[number].key in settled:
                yield f"{urls[number].url} was requested, and was {self.before.rows[urls[number].key].state}"
        open_rows = {number_of(row.url) for row in truth.of("pending").values()}
        lost = {number_of(each.path): each.moment for each in asked if each.status_code == 200}
        lost = {number: moment for number, moment in lost.items() if number in open_rows}
        if lost:
            self.tally.in_vain.append(len(lost))
        old = [moment for moment in lost.values() if ended - moment > LONGEST_UNCOMMITTED_SECONDS]
        if len(old) > IN_FLIGHT:
            yield f"{len(old)} items were lost that were older than {LONGEST_UNCOMMITTED_SECONDS} s"

    def _faults_of_metrics(self, truth: Truth) -> Iterator[str]:
        """The textfile tells of this start, unless it was killed or interrupted before it had begun."""
        if self.exit_code < 0 or self.exit_code in (130, 143):
            return
        text = (self.folder / "night.prom").read_text()
        values = dict(re.findall(r"^(\S+) (\S+)$", text, re.MULTILINE))
        if values['batchproc_last_run_exit_code{job="nightly"}'] != str(self.exit_code):
            yield f"exit code {self.exit_code}, and the metrics say {text}"
        for state, number in truth.counts.items() if self.exit_code in (0, 3) else ():
            name = f'batchproc_items{{job="nightly",state="{state}"}}'
            if values.get(name, str(number)) != str(number):
                yield f"{number} are {state}, and the metrics say {values[name]}"

    def _call(self, *flags: str) -> None:
        with started(self.scenery.config, "--quiet", *flags) as family:
            if family.wait() not in (0, 3):
                self._blame([f"an undisturbed run failed: {family.said()}"])

    def _blame(self, faults: Iterable[str]) -> None:
        for fault in islice(faults, MOST_FAULTS):
            self.tally.faults.append(f"{self.label}: {fault}")
            self.say(f"FAULT {self.label}: {fault}")


def draw(starts: int, rng: Random, kinds: Sequence[str]) -> Iterator[str]:
    """So many kinds, each as often as the others; the first is plain, so that there is something to lose."""
    deck: list[str] = ["plain"]
    for _ in range(starts):
        if not deck:
            deck = rng.sample(kinds, len(kinds))
        yield deck.pop()


def run_nights(
    folder: Path, *, starts: int, seed: int, say: Callable[[str], None], kinds: Sequence[str] = ()
) -> Tally:
    """All nights in an empty folder."""
    rng = Random(seed)
    with changing_server() as server, small_disk(folder / "disk") as has_own_disk:
        possible = [name for name in kinds or KINDS if has_own_disk or name not in ("full disk", "no room")]
        nights = Nights(folder, server, rng, say)
        for name in draw(starts, rng, possible):
            nights.start(name)
        nights.finish()
    return nights.tally


def describe(tally: Tally) -> str:
    """The numbers of the nights, a line each."""
    kinds = ", ".join(f"{count} {name}" for name, count in tally.kinds.most_common())
    exits = ", ".join(f"{count} x {code}" for code, count in tally.exits.most_common())
    return "\n".join(
        (
            f"starts      {tally.kinds.total()}: {kinds}",
            f"exit codes  {exits}",
            f"items       {tally.items} at the end",
            f"in vain     {sum(tally.in_vain)} requests, {max(tally.in_vain, default=0)} at most by one start",
            f"no row      {len(tally.untold)} starts: {'; '.join(tally.untold)}",
            f"faults      {len(tally.faults)}",
        )
    )


def _shown(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{number} {state}" for state, number in counts.items() if number)


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def main() -> int:
    """The command line; returns 1 when a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--starts", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="night-"))
    tally = run_nights(folder, starts=options.starts, seed=options.seed, say=partial(print, flush=True))
    print("\n".join((*tally.faults, describe(tally))))
    if tally.faults:
        print(f"kept: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
