"""What a case works with, and what it finds."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.campaign.servers.job import Ran, make_site

IMAGES = 200
START_SECONDS = 4.0  # of a run, on a busy machine


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that must be so, and what was seen."""

    claim: str
    seen: str
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where a case works: a fresh folder, with a site of photographs in it."""

    folder: Path
    site: Path


def stage(folder: Path) -> Stage:
    """A stage in `folder`."""
    return Stage(folder=folder, site=make_site(folder))


def whole(ran: Ran, claim: str, count: int = IMAGES) -> Finding:
    """That a run got everything."""
    counts = {name: number for name, number in ran.counts.items() if number}
    holds = (0, count) == (ran.exit_code, counts.get("done"))
    return Finding(claim=claim, seen=f"exit {ran.exit_code}, {counts or ran.said}", holds=holds)


Case = Callable[[Stage], Iterator[Finding]]
