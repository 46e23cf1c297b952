"""The console script's entry. It imports nothing at the top.

The start methods `forkserver` and `spawn` run the main script again in every worker; whatever is imported at its top is
paid for by each of them in time and memory.
"""


def main() -> None:
    """Runs the command line and ends the process, within a bound and with its exit code."""
    _forget_script_folder()
    import signal

    for number in (signal.SIGUSR1, signal.SIGUSR2):  # they ask how far it is: nobody can answer yet, or any more
        signal.signal(number, signal.SIG_IGN)
    exit_code = run()
    from batchproc.lifecycle import exit_program

    exit_program(exit_code)


def _forget_script_folder() -> None:
    """Imports nothing that lies where the program was started: `python -m` puts that folder before all others.

    A source tree that is not installed stays: nothing else leads to this package.
    """
    import sys

    if not sys.flags.safe_path and sys.path and __file__ != f"{sys.path[0]}/batchproc/__main__.py":
        del sys.path[0]


def run() -> int:
    """Runs the command line; returns the exit code. A Ctrl-C while it is being imported ends it as later ones do."""
    try:
        import gc
        import signal

        # A KeyboardInterrupt in the midst of an import in C is swallowed, and what was imported crashes later.
        waiting = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        waiting -= signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
        gc.disable()  # what is imported stays: to look for garbage in it takes 5% of a short command
        from batchproc import lifecycle, signals

        lifecycle.prepare_streams()  # first: what is opened below must not get the number of a closed stream
        lifecycle.prepare_exit()
        signals.listen()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waiting)
        if _print_at_once():
            lifecycle.end_output()
            return 0
        from batchproc.cli import main as run_command_line

        run_command_line()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except KeyboardInterrupt as stop:
        return getattr(stop, "exit_code", 130)
    except BaseException as error:  # noqa: BLE001 - a bug of ours: reported, and left as everything else
        lifecycle.report_bug(error)
        return 1
    return 0


def _print_at_once() -> bool:
    """Answers `batchproc --version` and `--help` without the command line, whose import takes most of their time."""
    import sys

    if sys.argv[1:] == ["--version"]:
        from batchproc.version import VERSION

        sys.stdout.write(f"{VERSION}\n")
        return True
    if sys.argv[1:] in (["--help"], ["-h"]) and sys.argv[0].endswith("/batchproc") and not _is_narrow():
        with open(__file__.replace("__main__.py", "templates/help.txt"), encoding="utf-8") as file:  # noqa: PTH123
            sys.stdout.write(file.read())
        return True
    return False


def _is_narrow() -> bool:
    """Whether the help may have to be wrapped for what shows it."""
    import os

    if "COLUMNS" in os.environ:
        return True
    try:
        return os.get_terminal_size(1).columns < 80
    except OSError:  # no terminal
        return False


if __name__ == "__main__":
    main()
