"""`batchproc init`: a commented config and a list to begin with. Never overwrites."""

from importlib.resources import files
from pathlib import Path

from batchproc.errors import UsageError

TEMPLATES = ("job.toml", "urls.txt")


def write_starter(folder: Path) -> list[Path]:
    """Writes the starter files into `folder`, made on demand. Raises `UsageError` when one is there, or on OSError."""
    paths = [folder / name for name in TEMPLATES]
    standing = [str(path) for path in paths if path.exists()]
    if standing:
        raise UsageError(f"{', '.join(standing)}: already there, and init never overwrites; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for path in paths:
            path.write_bytes((files("batchproc") / "templates" / path.name).read_bytes())
    except OSError as error:
        raise UsageError(f"{folder}: cannot be written: {error.strerror}") from error
    return paths
