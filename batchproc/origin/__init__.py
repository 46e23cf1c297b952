"""The embedded origin: a small image server in a process of its own, for demos, benchmarks and tests without a network.

It serves pictures that it makes from a seed, or a folder of the user's, with the latency, bandwidth and share of
misbehaving URLs that a real one would have. `EmbeddedOrigin` is the parent's side, `serve` the server by itself.
"""

from batchproc.origin.embedded import EmbeddedOrigin, OriginError
from batchproc.origin.settings import (
    Entry,
    Fault,
    OriginSettings,
    OriginTotals,
    check_settings,
    demo_list,
    demo_paths,
    listing,
)

__all__ = [
    "EmbeddedOrigin",
    "Entry",
    "Fault",
    "OriginError",
    "OriginSettings",
    "OriginTotals",
    "check_settings",
    "demo_list",
    "demo_paths",
    "listing",
    "serve",
]


def serve(settings: OriginSettings) -> int:
    """Serves until SIGINT or SIGTERM and returns the exit code. Says on stdout where the pictures are."""
    from batchproc.origin.server import serve_alone  # asyncio and Pillow are of no use to whoever only embeds it

    return serve_alone(settings)
