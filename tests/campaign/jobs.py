"""The job under fire: small enough to be killed hundreds of times, with images that can be caught half-written."""

from collections.abc import Sequence
from pathlib import Path

from tests.jobs import CONFIG

BAD_LINES = ("/no/such.jpg", "http://")  # one item that fails by its server, one by its line


def write_job(folder: Path, base_url: str, paths: Sequence[str], *, transform: str = "", download: str = "") -> Path:
    """Writes a list and a config of 320 px PNGs (about 100 KB each); returns the config's path."""
    (folder / "list.txt").write_text("".join(f"{line}\n" for line in (*paths, *BAD_LINES)))
    text = CONFIG.format(base_url=base_url, transform=transform)
    text = text.replace("[128, 128]", "[320, 320]").replace("retries = 2", f"retries = 2\n{download}")
    config = folder / "job.toml"
    config.write_text(text + '\n[output]\nformat = "png"\n')
    return config
