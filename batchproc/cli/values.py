"""Reads values given as flags. What cannot be read is a `UsageError` that quotes flag and value."""

from pathlib import Path

from batchproc.errors import Problem, UsageError


def read_duration(flag: str, text: str) -> float:
    """Seconds of a duration as "1h30m", or a number of seconds."""
    from batchproc.config.units import parse_duration

    try:
        return parse_duration(text)
    except ValueError as error:
        raise UsageError([Problem(where=f"{flag} {text}", message=str(error))]) from None


def read_size(flag: str, text: str) -> int:
    """Bytes of a size as "32MB", or a number of bytes."""
    from batchproc.config.units import parse_size

    try:
        return parse_size(text)
    except ValueError as error:
        raise UsageError([Problem(where=f"{flag} {text}", message=str(error))]) from None


def read_folder(flag: str, text: str) -> str:
    """The absolute path; an empty one would be the working directory, which nobody meant."""
    if not text.strip():
        raise UsageError([Problem(where=flag, message='must name a folder; "." is the working directory.')])
    return str(Path(text).absolute())
