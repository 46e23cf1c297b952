"""What a run left on disk: the scene right after a kill, and the result after the next start."""

import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

STATES = ("done", "rejected", "failed", "quarantined", "deferred", "pending")


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """What a job made for its user, and what its ledger knows of it."""

    images: Mapping[str, bytes]  # by file name, relative to the output folder
    metadata: bytes
    failures: bytes
    rows: Mapping[str, str]  # state by key


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """What a killed run left. `unknown_parts`: temporary files that no row of the ledger knows: lost work."""

    images: Mapping[str, bytes]
    metadata: bytes | None
    failures: bytes | None
    rows: Mapping[str, str]
    unknown_parts: tuple[Path, ...]


def result_of(output: Path) -> Result:
    """The result of a run that ended."""
    return Result(
        images=_images(output),
        metadata=(output / "metadata.jsonl").read_bytes(),
        failures=(output / "failures.jsonl").read_bytes(),
        rows={key: state for key, (state, _) in _ledger(output).items()},
    )


def keys_of(result: Result) -> dict[str, str]:
    """The key of every image's URL."""
    rows = map(json.loads, result.metadata.splitlines())
    return {row["url"]: row["key"] for row in rows}


def scene_of(output: Path) -> Scene:
    """What is there right now. The ledger is read from a copy: looking must not repair it."""
    ledger = _ledger(output)
    known = {temporary for _, temporary in ledger.values()}
    return Scene(
        images=_images(output),
        metadata=_bytes(output / "metadata.jsonl"),
        failures=_bytes(output / "failures.jsonl"),
        rows={key: state for key, (state, _) in ledger.items()},
        unknown_parts=tuple(path for path in (output / ".tmp").glob("*.part") if path.name not in known),
    )


def faults_of_scene(
    scene: Scene, expected: Result, *, early_end: bool = False, earlier: Result | None = None
) -> list[str]:
    """What must not be when a run was killed: half a file under a final name, or a file without a row.

    `early_end`: a run of this job has ended before its time, and left manifests of what was done by then. `earlier`:
    what the job made before its URLs changed: all of that stays until what is expected takes its place.
    """
    named = {name: Path(name).stem for name in scene.images}
    vouched = {key for key, state in scene.rows.items() if state in ("staged", "done")}
    former = earlier.images if earlier else {}
    faults = [
        f"{name} is not whole"
        for name in named
        if scene.images[name] not in (expected.images.get(name), former.get(name))
    ]
    faults += [f"{name} is gone" for name in former if name not in named]
    vouched |= {key for name, key in named.items() if scene.images[name] == former.get(name)}
    faults += [f"{name} has no row: {scene.rows.get(key)}" for name, key in named.items() if key not in vouched]
    done = {key for key, state in scene.rows.items() if state == "done"}
    faults += [f"{key} is done without a file" for key in sorted(done - set(named.values()))]
    for name in ("metadata", "failures"):
        found, whole = getattr(scene, name), getattr(expected, name)
        possible = (None, whole, getattr(earlier, name, None))
        if found not in possible and not (early_end and _has_lines_of(whole, found)):
            faults.append(f"{name}.jsonl is neither absent nor whole")
    return faults


def _has_lines_of(whole: bytes, part: bytes) -> bool:
    """Whether every line is a whole line of the other. An item may be missing, half a line may not."""
    return {*part.splitlines(keepends=True)} <= {*whole.splitlines(keepends=True)}


def faults_of_result(output: Path, expected: Result) -> list[str]:
    """What differs from a run that nobody disturbed, and what should have been tidied up."""
    result = result_of(output)
    names = sorted({*expected.images, *result.images})
    faults = [f"{name} differs" for name in names if result.images.get(name) != expected.images.get(name)]
    for name in ("metadata", "failures"):
        if getattr(result, name) != getattr(expected, name):
            faults.append(f"{name}.jsonl differs: {getattr(result, name)!r:.500}")
    keys = sorted({*expected.rows, *result.rows})
    faults += [f"{key} is {result.rows.get(key)}" for key in keys if result.rows.get(key) != expected.rows.get(key)]
    faults += [f".tmp/{path.name} is left" for path in (output / ".tmp").iterdir() if path.name != "ballast"]
    faults += [f"{path.name} is left" for path in output.glob(".*.tmp")]
    return faults + _faults_of_counts(output, expected)


def _faults_of_counts(output: Path, expected: Result) -> list[str]:
    counts = json.loads((output / "latest/run.json").read_bytes())["counts"]
    states = Counter(expected.rows.values())
    faults = [f"{state}: {counts[state]}, not {states[state]}" for state in STATES if counts[state] != states[state]]
    if counts["items"] != sum(counts[state] for state in STATES):
        faults.append(f"the counts do not add up: {counts}")
    return faults


def _images(output: Path) -> dict[str, bytes]:
    files = (path for path in (output / "images").rglob("*") if path.is_file())
    return {str(path.relative_to(output)): path.read_bytes() for path in files}


def _ledger(output: Path) -> dict[str, tuple[str, str]]:
    """State and temporary name by key; empty before the ledger has its tables."""
    with tempfile.TemporaryDirectory() as folder:
        for path in output.glob("batchproc.db*"):
            if not path.name.endswith("-shm"):
                shutil.copy(path, folder)
        with closing(sqlite3.connect(Path(folder, "batchproc.db"))) as connection:
            if not connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'item'").fetchone():
                return {}
            rows = connection.execute("SELECT hex(key), state, coalesce(temporary, '') FROM item").fetchall()
    return {key.lower(): (state, temporary) for key, state, temporary in rows}


def _bytes(path: Path) -> bytes | None:
    return path.read_bytes() if path.exists() else None
