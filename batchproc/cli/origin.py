"""`batchproc origin`: the demo image server by itself."""

from typing import Annotated, Optional

import typer

from batchproc import defaults
from batchproc.cli.values import read_duration, read_size

Photos = Annotated[str, typer.Option(metavar="DIR", help="serve this folder's pictures")]
Images = Annotated[int, typer.Option(min=1, help="pictures to make")]
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 = any free one")]
Latency = Annotated[str, typer.Option(metavar="TIME", help="before each reply, as 60ms")]
Jitter = Annotated[float, typer.Option(min=0, max=2, help="sigma of the latency's log-normal factor")]
Bandwidth = Annotated[str, typer.Option(metavar="SIZE", help="per second and connection; 0 = unlimited")]
Faults = Annotated[
    Optional[bool],  # noqa: UP045 - typer reads it at run time
    typer.Option("--faults/--no-faults", help="misbehave for 5% of the URLs; by default only without --photos"),
]
Seed = Annotated[int, typer.Option(min=0, help="of pictures, latencies and faults")]


def origin(
    photos: Photos = "",
    images: Images = defaults.ORIGIN_IMAGES,
    port: Port = 0,
    latency: Latency = f"{1000 * defaults.ORIGIN_LATENCY_SECONDS:g}ms",
    jitter: Jitter = defaults.ORIGIN_JITTER,
    bandwidth: Bandwidth = "0",
    faults: Faults = None,
    seed: Seed = defaults.ORIGIN_SEED,
) -> None:
    """Serve demo pictures, or your own, until Ctrl-C.

    Example: batchproc origin --photos ~/Pictures --port 8000 --latency 200ms
    """
    from batchproc.origin import OriginSettings, serve

    settings = OriginSettings(
        images=images,
        seed=seed,
        latency_seconds=read_duration("--latency", latency),
        jitter=jitter,
        bandwidth_bytes_per_second=read_size("--bandwidth", bandwidth),
        faults=faults,
        photos=photos,
        port=port,
    )
    raise typer.Exit(serve(settings))
