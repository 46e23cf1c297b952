"""What is run against what, and what must come of it."""

import math
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from tests.campaign.servers import between, refusing
from tests.campaign.servers.job import run_job, urls
from tests.campaign.servers.programs import apache, haproxy, nginx, node
from tests.campaign.servers.stage import IMAGES, START_SECONDS, Case, Finding, Stage, whole
from tests.campaign.servers.watching import watched

PER_HOST = 8  # the default
ROUNDS = 2
SLOWER_AT_MOST = 1.5  # than with no more workers than connections


def few_slots(port: int, folder: Path) -> Iterator[Finding]:
    """A server with ten slots: the defaults, in turn with no more workers than connections."""
    listed = urls(port, IMAGES)
    settings = {
        "few": (f"download.workers={PER_HOST}",),
        "threads": (),
        "processes": ('download.mode="process"', f"download.workers={2 * PER_HOST}"),
    }
    seconds: dict[str, float] = {}
    for number in range(ROUNDS):
        for name, values in settings.items():
            with watched(port) as seen:
                ran = run_job(folder, listed, *values, name=f"{name}-{number}")
            yield whole(ran, f"{name}: all images, none deferred")
            yield Finding(
                claim=f"{name}: at most {PER_HOST} connections", seen=f"{seen.most}", holds=seen.most <= PER_HOST
            )
            seconds[name] = min(seconds.get(name, math.inf), ran.facts.get("line_seconds", math.inf))
    yield Finding(
        claim=f"at most {SLOWER_AT_MOST} times the time of {PER_HOST} threads, best of {ROUNDS} each",
        seen=f"{seconds['threads']:.1f} s against {seconds['few']:.1f} s ({seconds['processes']:.1f} s in processes)",
        holds=seconds["threads"] <= SLOWER_AT_MOST * seconds["few"],
    )


def apache_prefork(place: Stage) -> Iterator[Finding]:
    """Apache prefork with `MaxRequestWorkers 10`: an idle connection takes a process."""
    with apache(place.folder, place.site, workers=10) as port:
        yield from few_slots(port, place.folder)


def haproxy_maxconn(place: Stage) -> Iterator[Finding]:
    """HAProxy with `maxconn 10` that keeps idle connections for 30 s."""
    options = "maxconn 10\n    timeout http-keep-alive 30s"
    with haproxy(place.folder, place.site / "00.jpg", options=options) as port:
        yield from few_slots(port, place.folder)


def node_max_connections(place: Stage) -> Iterator[Finding]:
    """node with `server.maxConnections = 10`: it drops what is more."""
    with node(place.folder, place.site, options='{"maxConnections": 10}') as port:
        yield from few_slots(port, place.folder)


def nginx_short_keepalive(place: Stage) -> Iterator[Finding]:
    """nginx that closes an idle connection after a second and sends slowly; two connections are allowed."""
    server = "keepalive_timeout 1s; limit_rate 300k;"
    with nginx(place.folder, place.site, server=server) as port:
        with watched(port) as seen:
            ran = run_job(place.folder, urls(port, 100), "download.per_host=2")
        log = (place.folder / "access.log").read_text()
    opened = len(set(re.findall(r"^(\d+) 200 ", log, re.MULTILINE)))
    yield whole(ran, "all images", 100)
    yield Finding(  # a machine too busy for a second lets one grow old, and another is opened
        claim="2 connections at once, and hardly another after them",
        seen=f"{opened}, at most {seen.most} at once",
        holds=opened <= 5 and seen.most <= 2,
    )
    size = sum(path.stat().st_size for path in place.site.iterdir()) / 24 * 100
    least = size / 300_000 / 2
    yield Finding(
        claim="no longer than the server makes it take, and a few seconds",
        seen=f"{ran.seconds:.1f} s, of which the server's rate makes {least:.1f} s",
        holds=ran.seconds <= 1.5 * least + START_SECONDS,
    )


def many_hosts_few_files(place: Stage) -> Iterator[Finding]:
    """60 hosts and few open files: a soft limit below a high one, and a low one for good with many workers."""
    addresses = [f"127.0.{number // 200 + 1}.{number % 200 + 1}" for number in range(60)]
    with nginx(place.folder, place.site, addresses=addresses) as port:
        listed = urls(port, 600, addresses=addresses)
        yield whole(run_job(place.folder, listed, name="soft", files=(256, 20_000)), "soft limit 256: all images", 600)
        ran = run_job(place.folder, listed[:240], "download.workers=64", name="hard", files=(100, 100))
        yield whole(ran, "limit 100 with 64 workers: all images", 240)


def redirects_to_one_host(place: Stage) -> Iterator[Finding]:
    """Four nginx hosts that redirect to a fifth with `limit_conn 8`, which refuses what is more."""
    target, leading = "127.0.0.1", [f"127.0.3.{number}" for number in range(1, 5)]
    http = "limit_conn_zone $server_name zone=one:1m;"
    limited = "server_name target; limit_conn one 8; limit_rate 2m;"
    with ExitStack() as stack:
        port = stack.enter_context(nginx(fresh(place, "target"), place.site, http=http, server=limited))
        moved = f"return 302 http://{target}:{port}$request_uri;"
        at = stack.enter_context(nginx(fresh(place, "leading"), place.site, server=moved, addresses=leading))
        for mode in ("thread", "process"):
            with watched(port) as seen:
                ran = run_job(place.folder, urls(at, IMAGES, addresses=leading), f'download.mode="{mode}"', name=mode)
            yield whole(ran, f"{mode}: all images")
            yield Finding(claim=f"{mode}: at most 8 connections", seen=f"{seen.most}", holds=seen.most <= PER_HOST)
        refused = (place.folder / "target" / "access.log").read_text().count(" 503 ")
    yield Finding(claim="nothing refused", seen=f"{refused} times 503", holds=not refused)


def fresh(place: Stage, name: str) -> Path:
    """A folder of its own for one server of several."""
    folder = place.folder / name
    folder.mkdir()
    return folder


CASES: dict[str, Case] = {
    "apache-prefork": apache_prefork,
    "haproxy-maxconn": haproxy_maxconn,
    "node-max-connections": node_max_connections,
    "nginx-short-keepalive": nginx_short_keepalive,
    "many-hosts-few-files": many_hosts_few_files,
    "redirects-to-one-host": redirects_to_one_host,
    **refusing.CASES,
    **between.CASES,
}
