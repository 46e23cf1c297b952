"""An install never fails for want of the resampler's wheel, and a wheel contains the documentation."""

import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from zipfile import ZipFile

import pytest

SCRIPT = """
import platform, sys, sysconfig
from setuptools import Distribution
from batchproc.packaging import Metadata

libc, without_gil = sys.argv[1:]
sys.platform = "linux"
platform.libc_ver = lambda: (libc, "1.2")
sysconfig.get_config_var = lambda name: int(without_gil) if name == "Py_GIL_DISABLED" else None
distribution = Distribution({"name": "batchproc", "install_requires": ["pillow>=12", "cykooz-resizer>=4"]})
Metadata(distribution).finalize_options()
print(*distribution.install_requires)
"""


@pytest.mark.skipif(find_spec("setuptools") is None, reason="needs setuptools, as the build of an install does")
@pytest.mark.parametrize(
    ("libc", "without_gil", "expected"),
    [
        ("glibc", "0", "pillow>=12 cykooz-resizer>=4"),
        ("", "0", "pillow>=12"),
        ("musl", "0", "pillow>=12"),
        ("glibc", "1", "pillow>=12"),
    ],
)
def test_the_resampler_is_asked_for_where_it_has_a_wheel(libc: str, without_gil: str, expected: str) -> None:
    command, root = [sys.executable, "-W", "ignore", "-c", SCRIPT, libc, without_gil], Path(__file__).parents[1]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False, timeout=60)

    assert (expected, "") == (done.stdout.strip(), done.stderr)


@pytest.mark.slow
def test_a_wheel_contains_every_page(tmp_path: Path) -> None:
    root = Path(__file__).parents[1]
    source = tmp_path / "source"
    shutil.copytree(root / "batchproc", source / "batchproc", symlinks=True)
    shutil.copytree(root / "docs", source / "docs")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, source)

    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(build, capture_output=True, check=True, timeout=300)

    (wheel,) = tmp_path.glob("*.whl")
    pages = {f"batchproc/docs/{page.name}" for page in (root / "docs").glob("*.md")}
    assert pages == {name for name in ZipFile(wheel).namelist() if name.startswith("batchproc/docs/")}
