"""The house: imports point down only, and workers stay light."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

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
    {"frontier", "executors", "download", "transform", "sink", "ledger", "sources", "origin", "exit_reason",
     "explain", "lock", "runlog"},
    {"record"},
    {"measure"},
    {"config", "protocols"},
    {"columns", "failpoints", "lifecycle", "model", "remembered", "shortage", "stores"},
    {"errors", "redact", "signals", "version"},
    {"defaults", "hostname", "kinds", "packaging", "sniff"},
]
FLOOR_OF = {name: number for number, names in enumerate(FLOORS) for name in names}
# Values that two neighbours share by design: the ledger is given its file operations by type only.
WORKER_MODULES = ["batchproc.executors.child", "batchproc.download.stage", "batchproc.transform.stage"]
HEAVY = ["pydantic", "typer", "rich", "matplotlib", "tqdm", "jinja2", "psutil", "sqlite3"]


def modules() -> Iterator[Path]:
    return PACKAGE.rglob("*.py")


def imported_parts(path: Path) -> Iterator[str]:
    """The top parts of batchproc that a module imports, `if TYPE_CHECKING` included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "batchproc":
            parts = node.module.split(".")
            yield from [parts[1]] if len(parts) > 1 else (alias.name for alias in node.names)
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("batchproc."):
                    yield alias.name.split(".")[1]


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def test_values_are_structs() -> None:
    """A frozen dataclass takes a millisecond to define, at every start; steps are some, as a user's own may be."""
    steps = PACKAGE / "transform" / "steps"

    assert [] == [str(path) for path in modules() if "@dataclass" in path.read_text() and path.parent != steps]


def test_every_part_has_its_floor() -> None:
    parts = {part_of(path) for path in modules()} - {"__init__"}

    assert set(FLOOR_OF) >= parts


def test_imports_point_down() -> None:
    wrong = [
        f"{path.relative_to(PACKAGE)} imports {part}"
        for path in sorted(modules())
        if (own := part_of(path)) != "__init__"
        for part in imported_parts(path)
        if part != own and FLOOR_OF[part] <= FLOOR_OF[own]
    ]

    assert [] == wrong


def test_workers_import_nothing_heavy() -> None:
    code = f"import sys; import {', '.join(WORKER_MODULES)}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert [] == [name for name in HEAVY if name in loaded]


def test_the_entry_point_imports_nothing_at_its_top() -> None:
    tree = ast.parse((PACKAGE / "__main__.py").read_text())

    assert [] == [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_transform_stage_needs_no_download_code() -> None:
    code = "import sys; import batchproc.transform.stage; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert [] == [name for name in loaded if name.startswith(("requests", "urllib3", "batchproc.download"))]


def test_a_bench_of_modes_needs_no_laboratory() -> None:
    code = "import sys; import batchproc.cli.bench, batchproc.bench.command; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    assert [] == [name for name in loaded if name.startswith("batchproc.lab")]


def test_nothing_is_taken_from_urllib3_itself() -> None:
    """Some packages replace it by a fork of the same name; what `requests` makes of either is its own affair."""
    found = [
        path.name for path in modules() for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        and any(name.split(".")[0] == "urllib3"
                for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)])
    ]  # fmt: skip

    assert [] == found
