"""Asks curl, requests and this program for the same odd replies and URLs, and lists where they differ.

    python -m tests.campaign.odd_replies

Exit code 1 when both others take what this program refuses without a reason in the table. Needs curl.
"""

import shutil
import subprocess
import sys
import tempfile
from contextlib import closing
from pathlib import Path

import requests

from batchproc.download.fetch import Download
from batchproc.errors import StageError
from tests.download.conftest import fetch
from tests.download.odd_replies import ODD_REPLIES, Odd
from tests.download.scripted import JPEG, Server, once

SECONDS = 3


def main() -> int:
    """Runs the table. Returns the exit code."""
    curl = shutil.which("curl")
    if curl is None:
        sys.exit("curl is not installed")
    differing = [odd for odd in ODD_REPLIES if not _agrees(odd, curl)]
    print(f"{len(ODD_REPLIES)} replies; {len(differing)} refused here without a reason, though both others take them")
    return 1 if differing else 0


def _agrees(odd: Odd, curl: str) -> bool:
    with Server(once(odd.octets)) as server:
        url = server.url()
        answers = {"ours": _ours(url), "requests": _requests(url), "curl": _curl(curl, url)}
    others = answers["requests"] == answers["curl"] == "taken"
    print(f"{odd.name:34}", *(f"{name} {answer:22}" for name, answer in answers.items()), odd.why)
    return answers["ours"] == "taken" or not others or bool(odd.why)


def _ours(url: str) -> str:
    stage = Download(allow_addresses=("127.0.0.0/8",), honour_robots=False, total_timeout_seconds=SECONDS)
    with closing(stage.open()) as work:
        try:
            return _verdict(fetch(work, url).content)
        except StageError as error:
            return error.code


def _requests(url: str) -> str:
    try:
        return _verdict(requests.get(url, timeout=SECONDS).content)
    except requests.RequestException as error:
        return type(error).__name__


def _curl(curl: str, url: str) -> str:
    with tempfile.NamedTemporaryFile() as file:
        command = [curl, "--silent", "--compressed", "--max-time", str(SECONDS), "--output", file.name, url]
        code = subprocess.run(command, timeout=2 * SECONDS).returncode
        return _verdict(Path(file.name).read_bytes()) if code == 0 else f"exit {code}"


def _verdict(content: bytes) -> str:
    return "taken" if content == JPEG else f"{len(content)} other bytes"


if __name__ == "__main__":
    sys.exit(main())
