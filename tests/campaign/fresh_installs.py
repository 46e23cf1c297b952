"""What a stranger gets: wheel and sdist, built, installed and run in fresh environments of several Pythons.

    python -m tests.campaign.fresh_installs [PYTHON...]

Without arguments python3.11, python3.12 and python3.13, as far as they are on the PATH. Builds the wheel and the sdist
once from a copy of the tracked files; then, for each Python, makes an environment, installs the wheel without extras
(and, in the first, the sdist again in its place), runs `batchproc demo` in an empty folder and checks what it left.
Needs the package registry. Prints seconds and the size of all that was installed, pip apart; fails above the limit.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PYTHONS = ("python3.11", "python3.12", "python3.13")
MOST_BYTES = 250_000_000
BUILD_SECONDS, INSTALL_SECONDS, DEMO_SECONDS = 300, 900, 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """One install: how large it is, and how long it and the demo took. Seconds and bytes."""

    python: str
    package: str
    install_seconds: float
    size_bytes: int
    demo_seconds: float
    done: int


def call(*command: str | Path, folder: Path, seconds: int) -> str:
    """Runs a command; what it says is told only when it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=seconds)
    if done.returncode:
        raise SystemExit(f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """The wheel and the sdist of what git tracks: a file that only lies about is in neither."""
    source = folder / "source"
    names = call("git", "ls-files", "-z", folder=ROOT, seconds=BUILD_SECONDS).split("\0")
    for name in filter(None, names):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name, follow_symlinks=False)
    call(sys.executable, "-m", "venv", folder / "build", folder=folder, seconds=BUILD_SECONDS)
    python = folder / "build/bin/python"
    call(python, "-m", "pip", "install", "-q", "build", folder=folder, seconds=INSTALL_SECONDS)
    call(python, "-m", "build", "--outdir", folder / "dist", source, folder=folder, seconds=BUILD_SECONDS)
    (wheel,), (sdist,) = (folder / "dist").glob("*.whl"), (folder / "dist").glob("*.tar.gz")
    return wheel, sdist


def install(python: str, package: Path, folder: Path) -> Installed:
    """Installs the package and runs the demo. Raises SystemExit where it leaves other than it should."""
    folder.mkdir()
    call(python, "-m", "venv", folder / "venv", folder=folder, seconds=INSTALL_SECONDS)
    own = folder / "venv/bin/python"
    started = time.monotonic()
    call(own, "-m", "pip", "install", "-q", package, folder=folder, seconds=INSTALL_SECONDS)
    installed = time.monotonic()
    call(folder / "venv/bin/batchproc", "demo", folder=folder, seconds=DEMO_SECONDS)
    ended = time.monotonic()
    outputs = folder / "batchproc-demo/outputs"
    counts = json.loads((outputs / "latest/run.json").read_text())["counts"]
    if (counts["items"], counts["failed"]) != (240, 8) or not (outputs / "report.html").is_file():
        raise SystemExit(f"{python}: the demo of {package.name} left {counts}")
    return Installed(
        python=call(own, "-V", folder=folder, seconds=60).split()[1],
        package=package.name.partition("-")[0] + package.suffix,
        install_seconds=installed - started,
        size_bytes=size_of(folder / "venv/lib"),
        demo_seconds=ended - installed,
        done=counts["done"],
    )


def size_of(folder: Path) -> int:
    """Bytes of what was installed. pip came with the environment, and goes with no program."""
    return sum(
        path.lstat().st_size for path in folder.rglob("*")
        if path.is_file() and not any(part == "pip" or part.startswith("pip-") for part in path.parts)
    )  # fmt: skip


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="*", default=[name for name in PYTHONS if shutil.which(name)])
    pythons = parser.parse_args().python
    with tempfile.TemporaryDirectory(prefix="batchproc-installs-") as name:
        folder = Path(name)
        wheel, sdist = build(folder)
        print("python    package           install     size      demo  done")
        for number, (python, package) in enumerate([*((each, wheel) for each in pythons), (pythons[0], sdist)]):
            one = install(python, package, folder / str(number))
            print(
                f"{one.python:<10}{one.package:<16}{one.install_seconds:>7.1f} s {one.size_bytes / 1e6:>6.0f} MB"
                f"{one.demo_seconds:>8.1f} s {one.done:>5}", flush=True,
            )  # fmt: skip
            shutil.rmtree(folder / str(number))
            if one.size_bytes > MOST_BYTES:
                raise SystemExit(f"{one.size_bytes / 1e6:.0f} MB installed, the limit is {MOST_BYTES / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
