"""Shells complete commands, flags, modes and topics; and asking for help is quick because it imports little."""

import os
import shutil
import subprocess
import sys

import pytest

PROGRAM = [sys.executable, "-c", "from batchproc.__main__ import main; main()"]
SCRIPT = """
source <(batchproc --show-completion bash)
COMP_WORDS=({words}); COMP_CWORD=$((${{#COMP_WORDS[@]}} - 1))
_batchproc_completion batchproc
echo "${{COMPREPLY[@]}}"
"""


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash here")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("batchproc sta", "status"),
        ("batchproc run --trans", "--transform-mode --transform-workers"),
        ("batchproc run --transform-mode au", "auto"),
        ("batchproc help night", "nightly"),
    ],
)
def test_bash_completes(words: str, expected: str) -> None:
    path = f"{os.path.dirname(sys.executable)}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", SCRIPT.format(words=words)],
        env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip

    assert expected == done.stdout.strip()


@pytest.mark.parametrize("words", [["status", "--help"], ["--help"], ["-h"], ["--version"]], ids=" ".join)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; sys.argv[0] = '/bin/batchproc'; from batchproc.__main__ import run; run();"
        "print(*sys.modules, file=sys.stderr)"
    )
    env = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run([sys.executable, "-c", script, *words], capture_output=True, text=True, env=env, timeout=60)

    heavy = {"numpy", "PIL", "pyarrow", "requests", "jinja2", "sqlite3"}
    if len(words) == 1:
        heavy |= {"typer", "pydantic", "rich"}
    assert done.stdout
    assert set() == heavy & set(done.stderr.split())
