"""How fast one host is asked, learned from what it accepts and refuses; and how long it is left alone.

A single refusal lowers the rate, refusals in a row pause the host: it is asked again with one request, after a second
and then after twice as long each time, or when its Retry-After says. The rate is a token bucket of depth one whose
filling follows AIMD, as TCP's window does (RFC 5681, section 3.1): a cut by a factor, then growth with every answer,
slowly near the last cut and faster far from it (as in CUBIC, RFC 9438, section 4.2), so that a limit that was lifted is
found out soon. After a pause the rate is what the host accepted over the whole time since the pause before.
"""

from msgspec import Struct

CUT = 0.85  # of the rate, at a refusal
BELOW_MEASURED = 0.95  # of what was accepted, after a pause
GROWTH = 0.001  # of the rate at the last cut, for each answer since then
GROWTH_SQUARED = 0.00002
SEARCH_GROWTH = 1.05  # with each answer, until the first rate was tried out: as in TCP's slow start
GUESS_GROWTH = 1.3  # the same, where the first rate was no measured one
FOUND = 0.5  # of the rate at which a search ended, at least, as in TCP's slow start
FEWEST_ACCEPTED = 5  # that a rate after a pause is measured from; else
FIRST_RATE_PER_SECOND = 1.0
SLOWEST_PER_SECOND = 0.1  # what wants to be asked less often than that is paused again and again
SHORTEST_SECONDS = 0.05  # over which a rate can be measured
FIRST_PAUSE_SECONDS = 1.0
NEVER = float("inf")


class Pace(Struct, kw_only=True):
    """The rate and the pauses of a host that has refused at least once. Not thread-safe; times are clock seconds."""

    since: float  # start of the stretch over which `accepted` was counted
    accepted: int
    rate_per_second: float = 0.0  # 0: not known yet
    not_before: float = 0.0
    asked_until: float = 0.0  # the same, where the host itself said so
    pauses: int = 0  # in a row, without an answer in between
    paused_seconds: float = 0.0  # of these together
    most_per_second: float = NEVER  # that the config allows
    _base: float = 0.0  # the rate at the last cut
    _answers: int = 0  # since the last cut
    _search_growth: float = SEARCH_GROWTH
    _found: float = 0.0  # by the search that the last refusal ended: what was accepted while it grew is less
    _is_searching: bool = True  # no refusal has shown yet that a rate was too high
    _next_start: float = 0.0
    _cut_at: float = float("-inf")  # what was started before says nothing about the present rate
    _refused_in_a_row: int = 0

    @classmethod
    def at_most(cls, requests_per_second: float) -> "Pace":
        """The pace of a host that has not refused yet, but for which the config gives a rate."""
        rate = requests_per_second
        return cls(since=0.0, accepted=0, rate_per_second=rate, most_per_second=rate, _base=rate, _is_searching=False)

    @property
    def is_probing(self) -> bool:
        """Whether one request at a time finds out if the host is back."""
        return self.pauses > 0

    def next_start(self, in_flight: int) -> float:
        """When the host may be asked next, beside `in_flight` requests; infinite while a probe is under way."""
        if self.is_probing and in_flight:
            return NEVER
        return max(self.not_before, self._next_start)

    def start(self, now: float) -> None:
        """A request goes out."""
        if self.rate_per_second:
            self._next_start = now + 1 / self.rate_per_second

    def accept(self, started: float, now: float) -> None:
        """The host has answered a request of `started`, whatever it said."""
        self.accepted += 1
        if started <= self._cut_at:
            return
        self._refused_in_a_row = 0
        if self.is_probing:
            self._resume(now)
        elif self.rate_per_second:
            self._answers += 1
            if self._is_searching:
                rate = self.rate_per_second * self._search_growth
            else:
                rate = self._base * (1 + GROWTH * self._answers + GROWTH_SQUARED * self._answers**2)
            self.rate_per_second = min(rate, self.most_per_second)

    def refuse(self, started: float, now: float, *, retry_after_seconds: float | None, is_silent: bool) -> None:
        """The host has refused a request of `started`. `is_silent`: it answers nothing, so that no rate is the reason.

        What was under way at the last cut tells nothing new, but a Retry-After counts whenever it comes.
        """
        is_late = started <= self._cut_at
        if is_late and retry_after_seconds is None:
            return
        if not is_late:
            self._cut_at = now
            self._refused_in_a_row += 1
            if self._refused_in_a_row == 1:
                self._found = FOUND * self.rate_per_second if self._is_searching else 0.0
                self._is_searching = not self._base
                self._set(CUT * (self.rate_per_second or self._measured(now)), now)
        if retry_after_seconds is not None or is_silent or self._refused_in_a_row > 1:
            self._pause(now, retry_after_seconds, is_new=not is_late)

    def _resume(self, now: float) -> None:
        """A probe was answered: goes on with what the host took since the last time this happened."""
        measured = max(BELOW_MEASURED * self._measured(now), self._found)
        self._search_growth = SEARCH_GROWTH
        if self.accepted < FEWEST_ACCEPTED:
            measured, self._search_growth = max(measured, FIRST_RATE_PER_SECOND), GUESS_GROWTH
        self._set(min(measured, self.rate_per_second or measured), now)
        self.pauses, self.paused_seconds = 0, 0.0
        self.since, self.accepted = now, 0

    def _pause(self, now: float, retry_after_seconds: float | None, *, is_new: bool) -> None:
        if is_new or not self.pauses:
            self.pauses += 1
        seconds = FIRST_PAUSE_SECONDS * 2 ** (self.pauses - 1) if retry_after_seconds is None else retry_after_seconds
        until = now + seconds
        self.paused_seconds += max(0.0, until - max(now, self.not_before))
        self.not_before = max(self.not_before, until)
        if retry_after_seconds is not None:
            self.asked_until = self.not_before

    def _measured(self, now: float) -> float:
        return max(1, self.accepted) / max(now - self.since, SHORTEST_SECONDS)

    def _set(self, rate_per_second: float, now: float) -> None:
        rate_per_second = min(max(rate_per_second, SLOWEST_PER_SECOND), self.most_per_second)
        self.rate_per_second = self._base = rate_per_second
        self._answers = 0
        self._next_start = now + 1 / rate_per_second
