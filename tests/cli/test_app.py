"""The command line's end, whatever comes."""

import pytest
import typer

from batchproc.cli import app as command_line
from batchproc.signals import Stopped


@pytest.mark.parametrize("exit_code", [130, 143])
def test_a_signal_that_comes_before_a_command_has_begun_gives_its_own_exit_code(
    exit_code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = typer.Typer()

    @started.command()
    def command() -> None:
        raise Stopped(exit_code, during="starting")

    monkeypatch.setattr(command_line, "app", started)
    monkeypatch.setattr("sys.argv", ["batchproc"])

    with pytest.raises(SystemExit) as end:
        command_line._run_app()

    assert exit_code == end.value.code
