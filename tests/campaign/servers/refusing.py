"""Servers that refuse, ask to wait, fail for a while or are not there."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.campaign.servers.job import Ran, run_job, urls
from tests.campaign.servers.programs import free_port, nginx, varnish
from tests.campaign.servers.stage import IMAGES, START_SECONDS, Case, Finding, Stage, whole

REFUSALS = ("429", "503")
LEARNING = 20  # requests before a rate can be known


def statuses(place: Stage) -> list[str]:
    """The status of each request that nginx has had, in order."""
    return re.findall(r"^\d+ (\d+) ", (place.folder / "access.log").read_text(), re.MULTILINE)


def left(ran: Ran, claim: str, count: int, *, exit_code: int = 3) -> Finding:
    """That a run left so many for the next one."""
    counts = {name: number for name, number in ran.counts.items() if number}
    holds = (exit_code, count, None) == (ran.exit_code, counts.get("deferred"), counts.get("failed"))
    return Finding(claim=claim, seen=f"exit {ran.exit_code}, {ran.seconds:.1f} s, {counts or ran.said}", holds=holds)


def limited(place: Stage, status: int) -> Iterator[Finding]:
    """Ten requests a second are served, and the others refused with `status`."""
    http = f"limit_req_zone $binary_remote_addr zone=z:1m rate=10r/s; limit_req_status {status};"
    with nginx(place.folder, place.site, http=http, server="limit_req zone=z burst=5 nodelay;") as port:
        ran = run_job(place.folder, urls(port, IMAGES))
    yield whole(ran, "all images")
    took = ran.facts.get("line_seconds", 0.0)
    yield Finding(claim="at most 26 s", seen=f"{took:.1f} s", holds=0 < took <= 26)
    asked = statuses(place)
    refused = sum(code in REFUSALS for code in asked[LEARNING:])
    share = refused / max(1, len(asked) - LEARNING)
    yield Finding(
        claim=f"at most 5% refused after the first {LEARNING} requests",
        seen=f"{share:.1%}; {len(asked)} requests, {sum(code in REFUSALS for code in asked)} refused",
        holds=share <= 0.05,
    )


def nginx_limit_503(place: Stage) -> Iterator[Finding]:
    """nginx `limit_req` of 10 a second, refusing with its default, 503 without Retry-After."""
    yield from limited(place, 503)


def nginx_limit_429(place: Stage) -> Iterator[Finding]:
    """nginx `limit_req` of 10 a second, refusing with 429."""
    yield from limited(place, 429)


def nginx_come_back_tomorrow(place: Stage) -> Iterator[Finding]:
    """A host that refuses everything but robots.txt, and wants to be left alone for a day."""
    for status in REFUSALS:
        server = f"""location = /robots.txt {{ return 404; }}
            location / {{ add_header Retry-After 86400 always; return {status}; }}"""
        with nginx(place.folder, place.site, server=server) as port:
            listed = urls(port, IMAGES)
            for number in (1, 2):
                before = statuses(place).count(status)
                ran = run_job(place.folder, listed, name=f"out-{status}")
                asked = statuses(place).count(status) - before
                yield left(ran, f"{status}, run {number}: all are left for later", IMAGES)
                most = 8 if number == 1 else 0
                yield Finding(claim=f"at most {most} requests", seen=str(asked), holds=asked <= most)


def nginx_come_back_soon(place: Stage) -> Iterator[Finding]:
    """A host that always answers 429 with `Retry-After: 2`: the wait does not grow with its items."""
    server = """location = /robots.txt { return 404; }
        location / { add_header Retry-After 2 always; return 429; }"""
    seconds = {}
    for count in (10, 40):
        with nginx(place.folder, place.site, server=server) as port:
            ran = run_job(place.folder, urls(port, count), name=f"out-{count}")
        seconds[count] = ran.seconds
        yield left(ran, f"{count} items: all are left for later", count)
    yield Finding(
        claim="40 items take no longer than 10 and a few seconds",
        seen=", ".join(f"{count}: {took:.1f} s" for count, took in seconds.items()),
        holds=seconds[40] <= seconds[10] + START_SECONDS,
    )


def nginx_beside(place: Stage) -> Iterator[Finding]:
    """1,100 URLs of a host that refuses stand in the list before 300 of one that is well."""
    ill = "location = /robots.txt { return 404; } location / { return 429; }"
    http = f"server {{ listen 127.0.0.2:PORT; {ill} }}"
    with nginx(place.folder, place.site, http=http) as port:
        well = urls(port, 300)
        alone = run_job(place.folder, well, name="alone")
        yield whole(alone, "the 300 alone", 300)
        listed = [url.replace("127.0.0.1", "127.0.0.2") for url in urls(port, 1100)] + well
        both = run_job(place.folder, listed, name="both")
    yield Finding(
        claim="all 300 come through, the others are left for later",
        seen=f"{both.counts.get('done')} done, {both.counts.get('deferred')} deferred, {both.seconds:.1f} s",
        holds=(both.counts.get("done"), both.counts.get("deferred")) == (300, 1100),
    )
    took = {name: last_done(place.folder / name) for name in ("alone", "both")}
    yield Finding(
        claim="they take at most 1.5 times their time alone, and a second",
        seen=f"{took['both']:.1f} s against {took['alone']:.1f} s",
        holds=took["both"] <= 1.5 * took["alone"] + 1,
    )


def last_done(output: Path) -> float:
    """Seconds from the first image of a run to its last."""
    times = [path.stat().st_mtime for path in (output / "images").rglob("*.jpg")]
    return max(times) - min(times) if times else 0.0


def gateway_starting(place: Stage) -> Iterator[Finding]:
    """A gateway (nginx) that answers 502, also for robots.txt, for 2 s: then its origin starts."""
    origin_folder = place.folder / "origin"
    origin_folder.mkdir()
    origin_folder.chmod(0o755)
    origin = free_port()
    gateway = nginx(place.folder, place.site, server=f"location / {{ proxy_pass http://127.0.0.1:{origin}; }}")
    with gateway as port, started_late(place, origin_folder, origin):
        ran = run_job(place.folder, urls(port, 100))
    yield whole(ran, "all images", 100)
    counts = {code: statuses(place).count(code) for code in sorted(set(statuses(place)))}
    yield Finding(
        claim="few requests while it fails",
        seen=f"{counts}, {ran.seconds:.1f} s",
        holds=0 < counts.get("502", 0) <= 20,
    )


@contextmanager
def started_late(place: Stage, folder: Path, port: int) -> Iterator[None]:
    """Starts an origin 2 s after the first request of its gateway."""
    ended = threading.Event()

    def serve() -> None:
        while not statuses(place) and not ended.wait(0.05):
            pass
        if not ended.wait(2.0):
            with nginx(folder, place.site, port=port):
                ended.wait(120.0)

    thread = threading.Thread(target=serve, name="origin", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(20.0)


def varnish_dead_origin(place: Stage) -> Iterator[Finding]:
    """Varnish before an origin that is not there: 503 with `Retry-After: 5`, also for robots.txt."""
    with varnish(place.folder, origin=free_port()) as port:
        started = time.monotonic()
        ran = run_job(place.folder, urls(port, 30))
        took = time.monotonic() - started
    yield left(ran, "all are left for later", 30)
    yield Finding(claim="it waits, at most for a minute", seen=f"{took:.1f} s", holds=5 < took < 60)


def host_down(place: Stage) -> Iterator[Finding]:
    """500 of 560 URLs are of a host that is not there: the night is no success, and one line says so."""
    with nginx(place.folder, place.site) as port:
        ran = run_job(place.folder, urls(free_port(), 500) + urls(port, 60))
    yield left(ran, "exit 3, 500 left for later", 500)
    yield Finding(claim="60 done", seen=str(ran.counts.get("done")), holds=ran.counts.get("done") == 60)
    yield Finding(claim="one line", seen=ran.said, holds=len(ran.said.splitlines()) == 1 and "500" in ran.said)


CASES: dict[str, Case] = {
    "nginx-limit-503": nginx_limit_503,
    "nginx-limit-429": nginx_limit_429,
    "nginx-retry-tomorrow": nginx_come_back_tomorrow,
    "nginx-retry-soon": nginx_come_back_soon,
    "nginx-beside": nginx_beside,
    "nginx-gateway-starting": gateway_starting,
    "varnish-dead-origin": varnish_dead_origin,
    "nginx-and-a-dead-host": host_down,
}
