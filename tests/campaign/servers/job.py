"""A folder of photographs, a job for them, and what a run of it came to."""

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

LONGEST_SECONDS = 300.0
PICTURES = 24

CONFIG = """
[job]
name = "servers"
input = "list.txt"
output = "{output}"
[download]
allow_addresses = ["127.0.0.0/8"]
[[transform.steps]]
op = "resize"
size = [256, 256]
[report]
html = false
"""


def make_site(folder: Path) -> Path:
    """A folder that a server may show, with `00.jpg` and so on. Others' processes can read it."""
    site = folder / "site"
    site.mkdir()
    for parent in (site, *site.parents):
        if parent.owner() == folder.owner() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o055)
        if parent == folder:
            break
    for number in range(PICTURES):  # about 60 KB each, and soon transformed: it is the servers that count here
        Image.effect_noise((320, 240), 60 + number).convert("RGB").save(site / f"{number:02}.jpg", quality=90)
    return site


def urls(port: int, count: int, *, addresses: Sequence[str] = ("127.0.0.1",)) -> list[str]:
    """So many different URLs of a site, over all its addresses in turn."""
    hosts = itertools.cycle(addresses)
    return [f"http://{next(hosts)}:{port}/{number % PICTURES:02}.jpg?{number}" for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A run that has ended."""

    seconds: float
    exit_code: int
    counts: dict[str, int]
    facts: dict[str, Any]
    said: str


def run_job(
    folder: Path,
    listed: Iterable[str],
    *settings: str,
    name: str = "out",
    flags: Sequence[str] = (),
    files: tuple[int, int] | None = None,
) -> Ran:
    """Runs the program as a user would, with the defaults but for `settings` and `flags`, into the output `name`.

    `files`: soft and hard limit of open files.
    """
    (folder / "list.txt").write_text("".join(f"{url}\n" for url in listed))
    config = folder / f"{name}.toml"
    config.write_text(CONFIG.format(output=name))
    sets = [flag for setting in settings for flag in ("--set", setting)]
    command = [sys.executable, "-m", "batchproc", "run", str(config), "--quiet", "--json", *flags, *sets]
    if files is not None:
        script = f'ulimit -Sn {files[0]}; ulimit -Hn {files[1]}; exec "$@"'
        command = ["bash", "-c", script, "bash", *command]
    environment = {**os.environ, "NO_COLOR": "1"}
    started = time.perf_counter()
    ended = subprocess.run(
        command, capture_output=True, text=True, timeout=LONGEST_SECONDS, check=False, env=environment
    )
    seconds = time.perf_counter() - started
    facts = json.loads(ended.stdout) if ended.stdout.startswith("{") else {}
    return Ran(
        seconds=seconds,
        exit_code=ended.returncode,
        counts=facts.get("counts", {}),
        facts=facts,
        said=ended.stderr.strip(),
    )


def failures(folder: Path, name: str = "out") -> list[dict[str, Any]]:
    """The rows of failures.jsonl."""
    path = folder / name / "failures.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
