"""This machine's own trouble: no file descriptor, port, buffer or route left for one connection more.

It is no host's fault and no item's attempt. Nothing starts for a while, twice as long each time; with descriptors,
ports or buffers short, half as many downloads go on afterwards, and one more for each round that goes well. What fails
for want of a route, or of a name server, is this machine's trouble only while nothing at all can be reached.
"""

import math
from collections import Counter

from msgspec.structs import replace

from batchproc.frontier.host import Entry
from batchproc.kinds import Code, Retry, kind_of
from batchproc.model import Disposition, Failure, Outcome
from batchproc.record.run_parts import LocalTrouble

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
QUIET_SECONDS = 10.0  # since anything was reached: then a missing route is everybody's
MANY_NAMES = 3  # of which the name server knew nothing for now, since anything was reached
MISHAPS_PER_ITEM = 10  # then it is left for the next run


class Machine:
    """What is known of it. Not thread-safe: used under the frontier's condition. Times are clock seconds."""

    def __init__(self, longest_seconds: float) -> None:
        self._longest_seconds = longest_seconds
        self._codes: Counter[str] = Counter()
        self._pauses = 0
        self._paused_seconds = 0.0
        self._limit = math.inf  # downloads at once
        self._pause = 0.0  # the last one's length; 0 when all is well
        self._paused_at = self.until = -math.inf  # nothing starts before the second one
        self._since = math.inf  # the present trouble's first pause
        self._reached_at = -math.inf
        self._unknown_names: set[str] = set()
        self._code = ""

    def __str__(self) -> str:
        if not self._pauses:
            return ""
        kinds = "; ".join(f"{kind_of(code).meaning} ({number} times)" for code, number in self._codes.most_common())
        advice = kind_of(self._codes.most_common(1)[0][0]).advice
        return f"{kinds}: nothing was started for {self._paused_seconds:g} s in all; {advice}"

    @property
    def is_limited(self) -> bool:
        """Whether it has had trouble that is not forgotten, so that `may_start` is to be asked."""
        return self._limit != math.inf or self._since != math.inf

    def may_start(self, now: float, downloading: int) -> bool:
        """Whether one download more may start beside so many; or be deferred, when all hope is given up."""
        return self.has_given_up(now) or (now >= self.until and downloading < self._limit)

    def has_given_up(self, now: float) -> bool:
        """Whether it has lasted so long that what is left is for the next run."""
        return now - self._since > self._longest_seconds

    def judge(self, host: str, outcome: Outcome, started: float, now: float, downloading: int) -> Outcome:
        """The outcome of a download of `started`, with the code that it deserves; learns from it."""
        if not isinstance(outcome, Failure) or _has_connected(outcome):
            self._recover(started, now)
            return outcome
        is_quiet = now - self._reached_at > QUIET_SECONDS
        if outcome.code == Code.DNS and outcome.retry is Retry.BACKOFF:
            self._unknown_names.add(host)
            if is_quiet and len(self._unknown_names) >= MANY_NAMES:
                outcome = replace(
                    outcome, code=Code.LOCAL_NETWORK, message="no name server answers", retry=Retry.NEXT_RUN
                )
        elif outcome.code == Code.LOCAL_NETWORK and not is_quiet:
            return replace(outcome, code=Code.CONNECT, message=f"{host} cannot be reached", retry=Retry.BACKOFF)
        if kind_of(outcome.code).is_local:
            self._suffer(outcome.code, started, now, downloading)
        return outcome

    def not_tried(self, entry: Entry) -> Failure:
        """The outcome of an item after all hope was given up."""
        return Failure(
            source=entry.source,
            stage="download",
            code=self._code,
            message=f"not tried: for {self._longest_seconds:g} s {kind_of(self._code).meaning}",
            hint=kind_of(self._code).advice,
            retry=Retry.NEXT_RUN,
            disposition=Disposition.DEFERRED,
            spans=entry.spans,
        )

    def describe(self) -> LocalTrouble:
        """How often nothing could start, for how long, and why."""
        return LocalTrouble(pauses=self._pauses, paused_seconds=self._paused_seconds, codes=dict(self._codes))

    def _suffer(self, code: str, started: float, now: float, downloading: int) -> None:
        self._codes[code] += 1
        if started <= self._paused_at:
            return  # it began before the pause: that was for all of them
        self._code = code
        self._pause = min(LONGEST_PAUSE_SECONDS, max(FIRST_PAUSE_SECONDS, 2 * self._pause))
        self._paused_at, self.until = now, now + self._pause
        self._since = min(self._since, now)
        self._pauses += 1
        self._paused_seconds += self._pause
        self._limit = 1 if code == Code.LOCAL_NETWORK else max(1, min(self._limit, downloading) // 2)

    def _recover(self, started: float, now: float) -> None:
        self._reached_at = now
        self._unknown_names.clear()
        if started <= self._paused_at:
            return
        self._pause, self._since = 0.0, math.inf
        if self._code == Code.LOCAL_NETWORK:
            self._limit = math.inf
        self._limit += 1 / self._limit


def _has_connected(failure: Failure) -> bool:
    return bool(failure.spans) and any(what.startswith("opened ") for what in failure.spans[-1].counts)
