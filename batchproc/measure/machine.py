"""The machine and the libraries that a figure was measured on."""

import multiprocessing
import os
import platform
import sys
from contextlib import suppress
from importlib import metadata
from typing import Any

from batchproc.measure.cores import usable_cores

CODECS = ("libjpeg_turbo", "zlib", "webp", "avif")
LIBRARIES = ("pillow", "cykooz-resizer", "requests")


def describe_machine() -> dict[str, Any]:
    """The `host` object of run.json. Imports Pillow, to name the codecs it was built with."""
    from PIL import features

    methods = multiprocessing.get_all_start_methods()
    codecs = {name: features.version(name) for name in CODECS if features.check(name)}
    return {
        "name": platform.node(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "cores": usable_cores(),
        "cores_online": os.cpu_count() or 1,
        "python": platform.python_version(),
        "implementation": platform.python_implementation(),
        "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
        "start_method": "forkserver" if "forkserver" in methods else "spawn",
        "libraries": _versions() | {k: v for k, v in codecs.items() if v},
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        with suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found
