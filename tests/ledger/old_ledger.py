"""A job as an earlier version left it: its ledger from a dump, its files as long as the ledger says."""

import sqlite3
from contextlib import closing
from pathlib import Path

VERSIONS = (1, 2, 3, 4)
DUMPS = {one: Path(__file__).with_name(f"version_{one}.sql").read_text(encoding="ascii") for one in VERSIONS}
BASE_URL = "http://127.0.0.1:8000/"


def write_old_ledger(output: Path, base_url: str = BASE_URL, *, version: int = 1) -> Path:
    """Writes the ledger of an earlier version and its images; returns the ledger's path."""
    path = output / "batchproc.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(DUMPS[version].replace(BASE_URL, base_url))
        for key, suffix, size_bytes in connection.execute(
            "SELECT lower(hex(key)), suffix, size_bytes FROM item WHERE suffix IS NOT NULL"
        ):
            image_path = output / f"images/{key[:2]}/{key}{suffix}"
            image_path.parent.mkdir(parents=True)
            image_path.write_bytes(bytes(size_bytes))
    return path


def read_dump(path: Path) -> list[str]:
    """All that a database holds, as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), f"version {connection.execute('PRAGMA user_version').fetchone()[0]}"]
