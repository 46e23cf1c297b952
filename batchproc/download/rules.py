"""What a robots.txt says to us: from its bytes to the rules that a URL is checked against (RFC 9309)."""

import re
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from batchproc.download.urls import Location
from batchproc.errors import Code, Retry, StageError

if TYPE_CHECKING:
    from protego import Protego

KEEP_SECONDS = 86_400.0  # RFC 9309, section 2.4
KEEP_OBSTACLE_SECONDS = 0.5  # for those that wait for the same reading; how soon to ask again the frontier decides
_COMPATIBLE = re.compile(r"compatible;\s*([^\s/;()]+)")
_FIRST_WORD = re.compile(r"[^\s/;()]*")
_AGENT_LINE = re.compile(r"user(?:-|\s*)agent(?:\s*:|\s|$)\s*(.*)", re.IGNORECASE)
_RULE_LINE = re.compile(r"(?:allow|di|crawl|request|visit)", re.IGNORECASE)  # `di`: all that passes for Disallow
_DISALLOW_LINE = re.compile(r"di[a-z]*+\s*:?\s*\S", re.IGNORECASE)


class Reading(Struct, frozen=True, kw_only=True):
    """What came of asking an origin for its robots.txt: lines, an obstacle, or the failure `code` of the origin."""

    lines: str = ""  # those that concern us
    code: str = ""
    obstacle: str = ""  # why there is nothing to go by; with a code, the failure's message
    hint: str = ""
    retry: Retry = Retry.HOST  # when to ask again, with an obstacle
    retry_after_seconds: float | None = None  # for which the server then asks to be left alone
    age_seconds: float = 0.0  # since another process has read it

    @property
    def keep_seconds(self) -> float:
        """How long it holds for those that ask later, from when it was read."""
        if self.code:
            return 0.0
        return KEEP_OBSTACLE_SECONDS if self.obstacle else KEEP_SECONDS


def product_token(user_agent: str) -> str:
    """The name that robots.txt knows us by, in lower case: `batchproc` of `batchproc/1.0 (+https://...)`.

    Of a user agent that poses as a browser it is the name behind "compatible;".
    """
    text = user_agent.strip().lower()
    named = _COMPATIBLE.search(text)
    if named is not None:
        return named[1]
    first = _FIRST_WORD.match(text)
    return first[0] if first is not None else ""


class Rules(Struct, frozen=True, kw_only=True):
    """What an origin asks of us: nothing, what `matcher` says, or, with an `obstacle`, to stay away for now.

    Immutable; the matcher may be asked from any thread.
    """

    matcher: "Protego | None" = None
    token: str = ""
    weight: int = 0  # characters of the rules that were kept
    obstacle: str = ""  # why the file cannot be read
    retry: Retry = Retry.HOST  # when to ask again, with an obstacle
    retry_after_seconds: float | None = None  # for which the server then asks to be left alone
    age_seconds: float = 0.0  # since another process has read them

    def check(self, location: Location) -> None:
        """Returns when `location` may be fetched. Raises `StageError` `policy.robots`."""
        if self.matcher is not None and not self.matcher.can_fetch(location.url, self.token):
            raise StageError(
                Code.POLICY_ROBOTS,
                f"robots.txt of {location.origin.host} disallows this URL",
                hint='if you may fetch it all the same, set [download] robots = "ignore"',
            )
        if self.obstacle:
            raise StageError(
                Code.POLICY_ROBOTS,
                f"robots.txt of {location.origin.host} cannot be read for now: {self.obstacle}",
                hint="it is asked for again, in this run and the next",
                retry=self.retry,
                retry_after_seconds=self.retry_after_seconds,
            )


def relevant_lines(octets: bytes, token: str) -> str:
    """The rules of a robots.txt for the robot `token`; nothing when all is allowed. Never fails on garbage.

    Only the groups for this robot and for everybody reach the parser: it multiplies every rule by the agents of its
    group, so that half a megabyte made for the purpose would fill the memory.
    """
    lines = _relevant_lines(octets.decode("utf-8", "replace").removeprefix("\ufeff"), token)
    return "\n".join(lines) if any(map(_DISALLOW_LINE.match, lines)) else ""


def make_rules(reading: Reading, token: str) -> Rules:
    """What a reading means for the robot `token`. Raises `StageError` when the origin could not be asked."""
    if reading.code:
        raise StageError(reading.code, reading.obstacle, hint=reading.hint, retry=reading.retry)
    rules = Rules(
        obstacle=reading.obstacle,
        retry=reading.retry,
        retry_after_seconds=reading.retry_after_seconds,
        age_seconds=reading.age_seconds,
    )
    if not reading.lines:
        return rules
    from protego import Protego  # here, so that workers that never meet a rule start without it

    matcher = Protego.parse(reading.lines)
    matcher.can_fetch("/", token)  # builds its index now, in one thread
    return replace(rules, matcher=matcher, token=token, weight=len(reading.lines))


def _relevant_lines(text: str, token: str) -> list[str]:
    kept: list[str] = []
    ours = naming = False  # this group is for us; its agents are still being named
    for raw in text.splitlines():
        line = raw.partition("#")[0].strip()
        agent = _AGENT_LINE.match(line)
        if agent is not None:
            name = product_token(agent[1])
            named = name == "*" or (token and name.rstrip("*") == token)
            ours = bool(named) or (ours and naming)
            naming = True
            if named:
                kept.append(f"User-agent: {'*' if name == '*' else token}")
        elif _RULE_LINE.match(line):
            naming = False
            if ours:
                kept.append(line)
    return kept


