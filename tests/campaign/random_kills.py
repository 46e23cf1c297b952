"""Kills jobs at random times, starts them again, and counts what it cost: `python -m tests.campaign.random_kills`.

SIGKILL for the parent, a worker, the fork server or the whole group of a real run, again and again until the job is
done; then the next job. After each kill the files and rows are looked at, and everything that was requested in vain is
told apart: in flight, or finished and not committed yet. Moments and victims come from the seed.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from random import Random

from tests.campaign.counting import CountingServer, counting_server
from tests.campaign.family import FATAL, Family, run_to_its_end, started
from tests.campaign.jobs import BAD_LINES, write_job
from tests.campaign.remains import Scene, faults_of_result, faults_of_scene, keys_of, result_of, scene_of

NO_START = "cannot start a worker process: "
MOST_FAULTS = 10  # said of one moment; one that is wrong is mostly wrong in all its files
IMAGES = 150
LONGEST_DELAY_SECONDS = 2.0  # from a start, or from a kill that the run survives, to the next kill
VICTIMS = ("parent", "parent", "group", "group", "worker", "fork server", "fork server+worker")
IN_FLIGHT = 16 + 16 + 2  # the capacities of both stages; one outcome on its way to the ledger, one to the transform
LONGEST_UNCOMMITTED_SECONDS = 0.5 + 1.5  # the ledger's delay, and a busy machine's


@dataclass(kw_only=True)
class Tally:
    """What a campaign came to."""

    kills: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    stopped: int = 0  # runs that lost the fork server before they had workers, said so, and left with exit code 1
    jobs: int = 0
    in_vain: int = 0  # requests that had to be made again
    in_flight: list[int] = field(default_factory=list)  # of them, by run that did not come to its end
    uncommitted: list[int] = field(default_factory=list)  # of them finished, by such a run
    ages_seconds: list[float] = field(default_factory=list)  # of the oldest of those, by such a run
    faults: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Campaign:
    """Jobs on one server, killed until `kills` is reached."""

    folder: Path
    server: CountingServer
    rng: Random
    kills: int
    say: Callable[[str], None]
    tally: Tally = field(default_factory=Tally)

    def run(self) -> Tally:
        """Runs the campaign to its end."""
        self.config = write_job(self.folder, self.server.base_url, self.server.paths)
        self.output = self.folder / "out"
        run_to_its_end(self.config)
        self.expected = result_of(self.output)
        self.keys = {url.removeprefix(self.server.base_url): key for url, key in keys_of(self.expected).items()}
        while self.tally.kills.total() < self.kills:
            self._job()
            self.say(f"{self.tally.kills.total()} kills, {self.tally.starts} starts, {self.tally.jobs} jobs")
        return self.tally

    def _job(self) -> None:
        """One job from nothing to its end, however many starts that takes."""
        shutil.rmtree(self.output, ignore_errors=True)
        first, in_vain = len(self.server.asked), self.tally.in_vain
        self.early_end = False
        while not self._start():
            pass
        self.tally.jobs += 1
        asked = len(self.server.asked)
        run_to_its_end(self.config)
        self._blame(f"{path} was requested by a run with nothing to do" for path in self.server.asked[asked:])
        self._blame(faults_of_result(self.output, self.expected))
        again = self._requests(first).total() - len(self.keys)
        if again != self.tally.in_vain - in_vain:
            self._blame([f"{again} requests were made again, {self.tally.in_vain - in_vain} were in vain"])

    def _start(self) -> bool:
        """One start; returns whether the job came to its end."""
        self.tally.starts += 1
        first, victims, moment = len(self.server.asked), ["nobody"], time.time()
        with started(self.config) as family:
            while not family.ends_within(self.rng.uniform(0, LONGEST_DELAY_SECONDS)):
                if victims[-1] in FATAL or self.tally.kills.total() == self.kills:
                    break
                moment = time.time()
                victim = family.kill(self.rng.choice(VICTIMS))
                if victim:
                    self.tally.kills[victim] += 1
                    victims.append(victim)
            exit_code = family.wait()
            self._blame(f"outlived by {command}" for command in family.outlived())
            self._judge(family, exit_code, victims)
        if exit_code and (self.output / "batchproc.db").exists():
            scene = scene_of(self.output)
            faults = faults_of_scene(scene, self.expected, early_end=self.early_end)
            self._blame(f"{fault} after {victims}" for fault in faults)
            self._note_loss(scene, first, moment)
        return exit_code == 0

    def _judge(self, family: Family, exit_code: int, victims: list[str]) -> None:
        """A run ends well, or is dead with its parent, or says that it could not start without the fork server."""
        fatal = victims[-1] in FATAL
        lost_fork_server = any("fork server" in victim for victim in victims)
        if fatal and exit_code == 0:  # the blow came a moment after the end
            self.tally.kills[victims[-1]] -= 1
        elif exit_code == 1 and lost_fork_server and NO_START in family.said():
            self.tally.stopped += 1
        elif exit_code != (-9 if fatal else 0):
            self._blame([f"exit code {exit_code} after {victims}: {family.said()}"])
        self.early_end = self.early_end or (exit_code != 0 and lost_fork_server)

    def _note_loss(self, scene: Scene, first: int, moment: float) -> None:
        """What this run requested and the ledger does not know: it will be requested again."""
        lost = {self.keys[path] for path in self._requests(first)}
        lost = {key for key in lost if scene.rows.get(key, "pending") == "pending"}
        finished: dict[str, float] = {}
        for path in scene.unknown_parts:
            if path.exists() and (key := path.name.partition(".")[0]) in lost:
                finished[key] = max(finished.get(key, 0.0), path.stat().st_mtime)
        age = moment - min(finished.values(), default=moment)
        self.tally.in_vain += len(lost)
        self.tally.in_flight.append(len(lost) - len(finished))
        self.tally.uncommitted.append(len(finished))
        self.tally.ages_seconds.append(age)
        if len(lost) - len(finished) > IN_FLIGHT:
            self._blame([f"{len(lost) - len(finished)} items were in flight, {IN_FLIGHT} can be"])
        if age > LONGEST_UNCOMMITTED_SECONDS:
            self._blame([f"an item was finished {age:.2f} s before the kill, and not committed"])

    def _requests(self, first: int) -> Counter[str]:
        """The requests for images since the `first`."""
        return Counter(path for path in self.server.asked[first:] if path in self.keys)

    def _blame(self, faults: Iterable[str]) -> None:
        for fault in islice(faults, MOST_FAULTS):
            text = f"kill {self.tally.kills.total()}, job {self.tally.jobs}, start {self.tally.starts}: {fault}"
            self.tally.faults.append(text)
            self.say(text)


def run_campaign(folder: Path, *, kills: int, seed: int, say: Callable[[str], None]) -> Tally:
    """A campaign in an empty folder."""
    with counting_server(IMAGES) as server:
        return Campaign(folder=folder, server=server, rng=Random(seed), kills=kills, say=say).run()


def describe(tally: Tally) -> str:
    """The numbers of a campaign, a line each."""
    victims = ", ".join(f"{count} {name}" for name, count in tally.kills.most_common())
    return "\n".join(
        (
            f"kills        {tally.kills.total()}: {victims}",
            f"starts       {tally.starts}, of {tally.jobs} jobs of {IMAGES} images and {len(BAD_LINES)} bad lines",
            f"stopped      {tally.stopped} runs, which lost the fork server before they had workers: exit code 1",
            f"in vain      {tally.in_vain} requests made again, by {len(tally.in_flight)} runs that were cut short",
            f"  in flight  {max(tally.in_flight, default=0)} at most, of {IN_FLIGHT} possible",
            f"  finished   {max(tally.uncommitted, default=0)} at most, the oldest "
            f"{max(tally.ages_seconds, default=0.0):.2f} s before the kill",
            f"faults       {len(tally.faults)}",
        )
    )


def main() -> int:
    """The command line; returns 1 when a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="random-kills-") as folder:
        tally = run_campaign(Path(folder), kills=options.kills, seed=options.seed, say=partial(print, flush=True))
    print(describe(tally))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
