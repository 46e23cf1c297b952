"""The job of the nights: `configs/nightly.toml` as it is shipped, shortened, and on a disk of its own."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaign.family import ROOT

DISK_BYTES = 400_000_000
SETTINGS = {
    "root": '"."',
    "input": '"list.txt"',
    "output": '"disk/out"',
    "keep_runs": "6",
    "workers": "8",  # of the first table that has them: the download
    "per_host": "8",
    "retries": '1\nallow_addresses = ["127.0.0.0/8"]',
    "# textfile": '"night.prom"',
    "durability": '"power"\n\n[report]\nhtml = false',
}


def write_config(folder: Path) -> Path:
    """`configs/nightly.toml` with this folder's paths, and with what makes a night short."""
    text = (ROOT / "configs/nightly.toml").read_text()
    for key, value in SETTINGS.items():
        line = re.compile(rf"^{key} = .*$", re.MULTILINE)
        text, found = line.subn(f"{key.removeprefix('# ')} = {value}", text, count=1)
        assert found, f"configs/nightly.toml has no {key}"
    config = folder / "nightly.toml"
    config.write_text(text)
    return config


@contextmanager
def small_disk(folder: Path) -> Iterator[bool]:
    """A tmpfs at `folder`, where this user may mount one; yields whether it is."""
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK_BYTES}", "night", str(folder)]
    mounted = subprocess.run(mount, capture_output=True).returncode == 0 if shutil.which("mount") else False
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(folder)], check=True)
