"""The console script's entry. It imports nothing at the top.

The start methods `forkserver` and `spawn` run the main script again in every worker; whatever is imported at its top is
paid for by each of them in time and memory.
"""


def main() -> None:
    """Runs the command line. A Ctrl-C while it is still being imported ends it as later ones do."""
    try:
        from batchproc.cli import main as run_command_line

        run_command_line()
    except KeyboardInterrupt:
        from batchproc.errors import ExitCode

        raise SystemExit(ExitCode.INTERRUPTED) from None


if __name__ == "__main__":
    main()
