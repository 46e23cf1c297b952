"""A small job on the embedded origin, as a user would write it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchproc.origin import EmbeddedOrigin, OriginSettings

CONFIG = """
[job]
name = "small"
input = "list.txt"
output = "out"
max_failed_ratio = 1.0
base_url = "{base_url}"

[download]
workers = 4
per_host = 8
retries = 2
allow_addresses = ["127.0.0.0/8"]

[transform]
workers = 2
{transform}

[[transform.steps]]
op = "min_size"
width = 64
height = 64

[[transform.steps]]
op = "resize"
size = [128, 128]
how = "contain"

[report]
html = false
"""

MakeJob = Callable[..., Path]
IMAGES = 40


@pytest.fixture(scope="session")
def origin() -> Iterator[EmbeddedOrigin]:
    """A real image server with its documented share of faults."""
    settings = OriginSettings(images=IMAGES, faults=True, latency_seconds=0.001, jitter=0.0)
    with EmbeddedOrigin(settings) as server:
        yield server


@pytest.fixture
def make_job(tmp_path: Path, origin: EmbeddedOrigin) -> MakeJob:
    """Writes a config and its list; returns the config's path. Without `faults` only well-behaved URLs are listed."""

    def make(images: int = 12, faults: bool = False, lines: list[str] | None = None, transform: str = "") -> Path:
        entries = [entry for entry in origin.listing() if faults or entry.fault is None]
        paths = [entry.path for entry in entries[:images]]
        (tmp_path / "list.txt").write_text("\n".join(paths if lines is None else lines) + "\n")
        config = tmp_path / "job.toml"
        config.write_text(CONFIG.format(base_url=origin.base_url, transform=transform))
        return config

    return make
