"""`python -m batchproc.origin`: the server by itself, or as the child of an `EmbeddedOrigin` (`--embedded`)."""

import argparse
import sys

from batchproc.errors import ExitCode, UsageError
from batchproc.origin import OriginSettings, serve


def parser() -> argparse.ArgumentParser:
    """The options of the server by itself."""
    default = OriginSettings()
    options = argparse.ArgumentParser(
        prog="python -m batchproc.origin",
        description="An image server for demos and benchmarks, on this machine only.",
        epilog="example: python -m batchproc.origin --port 8000 --latency 80 --jitter 0.5",
    )
    options.add_argument("--images", type=int, default=default.images, help="how many pictures it makes (%(default)s)")
    options.add_argument("--seed", type=int, default=default.seed, help="decides the pictures and faults (%(default)s)")
    options.add_argument("--photos", default="", metavar="DIR", help="serve the pictures of this folder instead")
    options.add_argument("--host", default=default.host, help="address to listen on (%(default)s)")
    options.add_argument("--port", type=int, default=0, help="0 = any free port (%(default)s)")
    options.add_argument(
        "--latency", type=float, default=default.latency_seconds * 1000, metavar="MS", help="median, ms (%(default)g)"
    )
    options.add_argument("--jitter", type=float, default=default.jitter, help="sigma of its spread (%(default)s)")
    options.add_argument(
        "--bandwidth", type=int, default=0, metavar="BYTES", help="per second and connection, 0 = unlimited"
    )
    options.add_argument("--faults", type=float, default=None, metavar="SHARE", help="of URLs that misbehave, 0 to 1")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Runs the server and returns the exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        if words == ["--embedded"]:
            from batchproc.origin.server import serve_embedded

            serve_embedded()
            return ExitCode.DONE
        wish = parser().parse_args(words)
        settings = OriginSettings(
            images=wish.images,
            seed=wish.seed,
            photos=wish.photos,
            host=wish.host,
            port=wish.port,
            latency_seconds=wish.latency / 1000,
            jitter=wish.jitter,
            bandwidth_bytes_per_second=wish.bandwidth,
            faults=wish.faults,
        )
        return serve(settings)
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        return ExitCode.INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
