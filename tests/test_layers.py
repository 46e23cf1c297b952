"""The house: imports point down only, and workers stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "batchproc"

# From the roof to the cellar; what stands in one line is side by side and does not import each other.
FLOORS = [
    {"__main__"},
    {"cli"},
    {"api"},
    {"cluster"},
    {"progress", "report"},
    {"lab"},
    {"bench"},
    {"mapping", "pipeline"},
    {"job_file"},
    {"frontier", "executors", "download", "transform", "ledger", "sources", "origin", "exit_reason", "explain", "lock",
     "runlog"},
    {"sink"},
    {"record"},
    {"measure"},
    {"config", "protocols"},
    {"columns", "failpoints", "lifecycle", "model", "remembered", "shortage", "stores"},
    {"errors", "redact", "signals", "version"},
    {"defaults", "hostname", "kinds", "packaging", "sniff"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
WORKER_MODULES = ["batchproc.executors.child", "batchproc.download.fetch", "batchproc.transform.stage"]
HEAVY = ["pydantic", "typer", "rich", "tqdm", "jinja2", "psutil", "sqlite3", "requests", "urllib3"]


@cache
def modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted(PACKAGE.rglob("*.py"))}


def imported_parts(tree: ast.Module) -> Iterator[str]:
    """The top parts of batchproc that a module imports, `if TYPE_CHECKING` included."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "batchproc":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name.split(".")[1] for alias in node.names if alias.name.startswith("batchproc."))


def offences(path: Path, tree: ast.Module) -> Iterator[str]:
    name = path.relative_to(PACKAGE)
    own = name.parts[0].removesuffix(".py")
    if own == "__init__":
        return
    if own not in FLOOR_OF:
        yield f"{name} stands on no floor"
        return
    for part in imported_parts(tree):
        if part != own and FLOOR_OF.get(part, -1) <= FLOOR_OF[own]:
            yield f"{name} imports {part}"


def test_every_module_has_its_floor_and_imports_point_down() -> None:
    assert [] == [offence for path, tree in modules().items() for offence in offences(path, tree)]


@pytest.mark.parametrize(
    ("imported", "unwanted"),
    [
        (", ".join(WORKER_MODULES), HEAVY),
        ("batchproc.transform.stage", ["batchproc.download"]),
        ("batchproc.cli.bench, batchproc.bench.command", ["batchproc.lab"]),
    ],
    ids=["nothing heavy in a worker", "no download code for transform", "no laboratory for a bench of modes"],
)
def test_what_is_not_needed_is_not_imported(imported: str, unwanted: list[str]) -> None:
    code = f"import sys; import {imported}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert [] == [name for name in loaded if any(name == one or name.startswith(f"{one}.") for one in unwanted)]


def test_the_entry_point_imports_nothing_at_its_top() -> None:
    tree = ast.parse((PACKAGE / "__main__.py").read_text())

    assert [] == [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_nothing_is_taken_from_urllib3_itself() -> None:
    """Some packages replace it by a fork of the same name; what `requests` makes of either is its own affair."""
    found = [
        path.name for path, tree in modules().items() for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(name.split(".")[0] == "urllib3"
                for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)])
    ]  # fmt: skip

    assert [] == found
