"""Real outputs in real loaders: `python -m tests.campaign.loaders`; installs them, which needs an index and 1 GB.

Makes an environment of its own with the loaders of `requirements.txt`, runs jobs over the lists of `lists.py` against a
server on loopback, and loads each output with `datasets`, `pyarrow`, `pandas`, `polars`, `duckdb` and `webdataset`.
Every value is compared with the list's, every picture with its row. `--venv FOLDER` keeps the environment for the next
time.
"""

import argparse
import io
import json
import subprocess
import sys
import tempfile
import threading
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image

from tests.campaign.loaders.lists import PICTURES, Case, make_cases

HERE = Path(__file__).parent
COLOURS = [(200, 40, 40), (40, 200, 40), (40, 40, 200)]
RUNS = 4
CONFIG = """
[job]
name = "{name}"
input = "list{suffix}"
output = "out"
base_url = "{base_url}"
{settings}

[download]
allow_addresses = ["127.0.0.0/8"]

[transform]
mode = "thread"
"""


class _Pictures(BaseHTTPRequestHandler):
    """Serves a picture of one colour under each number."""

    def do_GET(self) -> None:
        number = self.path.strip("/").removesuffix(".png")
        content = _draw(int(number)) if number.isdecimal() and int(number) < PICTURES else b""
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


def _draw(number: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (80, 60), COLOURS[number]).save(file, "PNG")
    return file.getvalue()


@contextmanager
def serving() -> Iterator[str]:
    """A server on loopback; yields its base URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pictures) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def write_job(folder: Path, case: Case, base_url: str) -> Path:
    """Writes the list and a config for it; returns the config's path."""
    folder.mkdir()
    (folder / f"list{case.suffix}").write_text(case.text, encoding="utf-8")
    settings = "\n".join(f"{key} = {value}" for key, value in case.settings.items())
    config = CONFIG.format(name=case.name, suffix=case.suffix, base_url=base_url, settings=settings)
    (folder / "job.toml").write_text(config, encoding="utf-8")
    return folder / "job.toml"


def make_output(folder: Path, case: Case, base_url: str) -> Path:
    """Runs the job a few times, with reports and gallery, as its folder looks after some nights."""
    config = write_job(folder, case, base_url)
    command = [sys.executable, "-m", "batchproc", "run", "--quiet", "--refresh", str(config)]
    for _ in range(RUNS):
        subprocess.run(command, check=True, cwd=HERE.parents[2])
    expected = {"columns": case.expected, "pictures": list(case.pictures), "colours": COLOURS}
    text = json.dumps(expected | {"is_inferred": case.is_inferred})
    (folder / "expected.json").write_text(text, encoding="utf-8")
    output = folder / "out"
    assert (output / "latest/gallery").is_dir()
    assert (output / "report.html").is_file()
    return output


def add_bench(output: Path) -> None:
    """What `bench --keep` leaves: outputs of cases, with images and manifests of their own."""
    case = output / "bench/20261122T081530Z/cases/serial+serial-1"
    for path in [output / "metadata.jsonl", *output.glob("images/*/*")]:
        copy = case / path.relative_to(output)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    (output / "bench/20261122T081530Z/bench.json").write_text("{}")


def load(python: Path, output: Path, kind: str) -> Iterator[dict[str, Any]]:
    """What loaders make of an output folder: those that are told only its place, or the one that is told its kind."""
    command = [python, "-W", "ignore", HERE / "reading.py", output, kind]
    done = subprocess.run(command, capture_output=True, text=True, encoding="utf-8")
    yield from map(json.loads, done.stdout.splitlines())
    if done.returncode:
        yield {"loader": "all that follow", "differences": 1, "first": [done.stderr[-600:]]}


def install(folder: Path) -> Path:
    """Makes the environment with the loaders; returns its Python."""
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", "-r", HERE / "requirements.txt"], check=True)
    return python


def main() -> int:
    """The command line; returns 1 when a loader did not give back what the list says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--venv", type=Path, help="where the loaders are installed; kept. By default temporary")
    parser.add_argument("--only", help="the name of one list")
    options = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="loaders-") as name, serving() as base_url:
        folder = Path(name)
        python = install((options.venv or folder / "venv").absolute())
        for case in make_cases():
            if options.only in (None, case.name):
                output = make_output(folder / case.name, case, base_url)
                results = list(load(python, output, "builder")) if case.is_inferred else []
                add_bench(output)  # a builder that is named takes every metadata.jsonl for its own
                for found in [*results, *load(python, output, "place")]:
                    failed += bool(found["differences"])
                    verdict = "as listed" if not found["differences"] else f"{found['differences']} differences"
                    print(f"{case.name:<12}{found['loader']:<22}{verdict}", *found["first"], sep="\n  ", flush=True)
    print("every value and every picture is as listed" if not failed else f"{failed} loads are not as listed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
