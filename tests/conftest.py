"""Fixtures that several folders share, and how the whole suite is run."""

import gc
import os

import pytest

from batchproc.frontier import host
from batchproc.measure.processes import usable_cores
from tests.jobs import make_job, origin

__all__ = ["make_job", "origin"]

os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each command that a test starts compiles all it imports


MOST_PROCESSES = 4


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> None:
    """Plain `pytest` uses the cores there are; what names its tests, and `-n 0`, runs in this one process."""
    is_whole = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    is_asked = config.pluginmanager.hasplugin("xdist") and config.getoption("numprocesses") is None
    if is_whole and is_asked and not hasattr(config, "workerinput") and not config.getoption("usepdb"):
        config.option.numprocesses = min(MOST_PROCESSES, usable_cores())
        config.option.dist = "worksteal"


def pytest_configure() -> None:
    """What is imported and collected stays: looking for garbage in it took a tenth of the suite."""
    gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what tests make is looked at."""
    gc.freeze()
    gc.enable()


@pytest.fixture
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process a host that is away is given up after a third of a second instead of half a minute."""
    monkeypatch.setattr(host, "FIRST_PAUSE_SECONDS", 0.01)
