"""Kills jobs that make shards at random times: `python -m tests.campaign.shard_kills --layout webdataset --kills 100`.

Each job is started, killed with its whole group after a random time, and started again, until it comes to its end; then
every byte that its user has must be that of a run which nobody disturbed. Moments come from the seed.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from random import Random

from tests.campaign.counting import counting_server
from tests.campaign.family import run_to_its_end, started
from tests.campaign.jobs import write_job

IMAGES = 150
SHARD_ITEMS = 20


def ending(output: Path) -> Mapping[str, bytes]:
    """What a job has made for its user: shards, manifests, and any image that still waits."""
    names = ("manifest.json", "metadata.jsonl", "failures.jsonl")
    paths = [output / name for name in names if (output / name).exists()]
    paths += [path for folder in ("shards", "images") for path in (output / folder).rglob("*") if path.is_file()]
    return {str(path.relative_to(output)): path.read_bytes() for path in sorted(paths)}


def faults_of(output: Path, expected: Mapping[str, bytes]) -> list[str]:
    """What differs from a run that nobody disturbed, and what should have been tidied up."""
    found = ending(output)
    faults = [f"{name} differs" for name in expected if name in found and found[name] != expected[name]]
    faults += [f"{name} is missing" for name in expected if name not in found]
    faults += [f"{name} is left" for name in found if name not in expected]
    return faults + [f".tmp/{path.name} is left" for path in (output / ".tmp").iterdir() if path.name != "ballast"]


def campaign(folder: Path, *, layout: str, kills: int, seed: int) -> list[str]:
    """Jobs on one server, until so many were killed; returns the faults."""
    rng, killed, jobs, faults = Random(seed), 0, 0, list[str]()
    flags = ("--set", f"output.layout={layout}", "--set", f"output.shard_items={SHARD_ITEMS}")
    with counting_server(IMAGES) as server:
        config, output = write_job(folder, server.base_url, server.paths), folder / "out"
        run_to_its_end(config, *flags)
        expected = ending(output)
        while killed < kills:
            shutil.rmtree(output)
            exit_code = -9
            while exit_code == -9:
                with started(config, *flags) as family:
                    if killed < kills and not family.ends_within(rng.uniform(0.5, 4.0)):
                        killed += family.kill("group") == "group"
                    exit_code = family.wait()
                    if exit_code not in (0, -9):
                        faults.append(f"exit code {exit_code}: {family.said()}")
            jobs += 1
            faults += faults_of(output, expected)
            print(f"{killed} kills, {jobs} jobs, {len(faults)} faults", flush=True)
    return faults


def main() -> int:
    """The command line; returns 1 when a fault was found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--layout", default="webdataset")
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="shard-kills-") as name:
        faults = campaign(Path(name), layout=options.layout, kills=options.kills, seed=options.seed)
    print(*faults, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
