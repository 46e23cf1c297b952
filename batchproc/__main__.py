"""The console script's entry. It imports nothing at the top.

The start methods `forkserver` and `spawn` run the main script again in every worker; whatever is imported at its top is
paid for by each of them in time and memory.
"""


def main() -> None:
    """Runs the command line."""
    from batchproc.cli import main as run_command_line

    run_command_line()


if __name__ == "__main__":
    main()
