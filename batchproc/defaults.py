"""What holds where nobody says otherwise: of a job's config, of the stages' settings, and of `batchproc origin`."""

import os
import re
from pathlib import Path
from typing import Final

CONNECT_TIMEOUT_SECONDS = 5.0
FIRST_BYTE_TIMEOUT_SECONDS = 15.0
TOTAL_TIMEOUT_SECONDS = 60.0
MIN_SPEED_BYTES_PER_SECOND = 1000
MAX_BYTES = 32_000_000
PER_HOST = 8  # connections at once
MAX_RETRY_AFTER_SECONDS = 900.0

FORMATS: Final = ("jpeg", "png", "webp", "gif", "avif", "tiff", "bmp")
MAX_PIXELS = 50_000_000
OUTPUT_QUALITY = 85
BACKGROUND = "#ffffff"
SPLIT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,63}")

ORIGIN_IMAGES = 240
ORIGIN_LATENCY_SECONDS = 0.06
ORIGIN_JITTER = 0.3
ORIGIN_SEED = 7


def cache_folder() -> Path | None:
    """Where this user's programs keep what they can make again (XDG Base Directory Specification); None: no home."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))  # a relative one is to be ignored
    try:
        return (named if named.is_absolute() else Path.home() / ".cache") / "batchproc"
    except RuntimeError:
        return None
