"""The download stage: a URL in, its bytes and what the reply says of them out, over at most ten redirects."""

import time

from batchproc.download import urls
from batchproc.download.connection import Deadline
from batchproc.download.local import SCHEME, LocalFiles
from batchproc.download.pool import pools
from batchproc.download.reply import WireReply
from batchproc.download.robots import RobotsGate, product_token
from batchproc.download.settings import Settings, Site, Sites
from batchproc.download.transport import Request, Transport
from batchproc.download.urls import Location
from batchproc.download.verdict import REDIRECTS, Asked, judge, read_body
from batchproc.errors import Code, StageError
from batchproc.model import Fetch, Item, Moved, Reply, SourceImage
from batchproc.protocols import Lap

MOST_HOPS = 10
_LONGEST_FACT = 1024  # of a header that is kept
_NOT_MOVED = Moved(trail=(), spent_seconds=0.0)


def _check_trail(trail: list[Location]) -> None:
    """Raises `StageError` when redirects lead nowhere."""
    if any(each.origin == trail[-1].origin and each.target == trail[-1].target for each in trail[:-1]):
        raise StageError(Code.REDIRECT, "the redirects go round in a circle")
    if len(trail) > 1 + MOST_HOPS:
        raise StageError(Code.REDIRECT, f"more than {MOST_HOPS} redirects")


class DownloadWork:
    """Downloads one URL at a time over the run's connections. For one thread; `abort` may come from any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transport = Transport(settings, pools.join(settings))
        self._own_headers = {name: value for name, value in settings.headers if name.lower() != "host"}
        self._robots_name = product_token(settings.user_agent)
        self._sites = Sites(settings)
        self._local = LocalFiles(settings.local_roots, settings.max_bytes)
        self._robots = RobotsGate(settings, self._send_for_rules, self._transport.interrupt.check)

    def __call__(self, item: Item[Fetch], lap: Lap) -> SourceImage | Moved:
        """Downloads the item's URL, or goes on where a redirect of it led.

        Books dns, connect, first_byte and body on `lap`. An unchanged image (304) has empty content. Raises
        `StageError`.
        """
        self._transport.interrupt.check()
        url, fetch = item.source.url, item.value
        if url.startswith(SCHEME):  # as listed: a redirect to one is refused like any other scheme
            return self._local(url, fetch, lap)
        moved = fetch.moved or _NOT_MOVED
        total_seconds = self._settings.total_timeout_seconds
        total = Deadline.after(total_seconds - moved.spent_seconds, Code.TIMEOUT_TOTAL)
        trail = [urls.parse(url), *map(urls.parse, moved.trail)]
        while True:
            here, site = trail[-1], self._site(trail[-1])
            if site.honour_robots:
                total = self._robots.admit(here, total, lap)
            own = all(each.origin == here.origin for each in trail)  # no redirect has left the first origin
            request = Request(here, site, self._headers(here, site, fetch, own), total, lap)
            reply = self._transport.send(request)
            try:
                lap("first_byte")
                if reply.status_code not in REDIRECTS:
                    return self._take(request, reply, fetch, url if len(trail) == 1 else here.url)
                trail.append(urls.follow(here, reply.headers.get("location", "")))
            finally:
                reply.close()
            _check_trail(trail)
            if fetch.hands_over and trail[-1].origin.authority != here.origin.authority:
                spent = total_seconds - (total.moment - time.monotonic())
                return Moved(trail=tuple(each.url for each in trail[1:]), spent_seconds=spent)

    def _site(self, location: Location) -> Site:
        return self._sites.of(location.origin.host, location.origin.port)

    def _send_for_rules(self, location: Location, total: Deadline, lap: Lap) -> WireReply:
        headers = self._plain_headers(location, "text/plain,*/*;q=0.5")
        return self._transport.send(Request(location, self._site(location), headers, total, lap))

    def _plain_headers(self, location: Location, accept: str) -> dict[str, str]:
        return {
            "Host": location.origin.authority,
            "User-Agent": self._settings.user_agent,
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }

    def _headers(self, location: Location, site: Site, fetch: Fetch, own: bool) -> dict[str, str]:
        headers = self._plain_headers(location, "image/*,*/*;q=0.5")
        if own:
            headers |= self._own_headers
            if location.user_info:
                headers["Authorization"] = urls.basic_authorization(location.user_info)
        headers |= dict(site.headers)
        if fetch.refresh:
            headers["Cache-Control"] = "max-age=0"  # else a cache may answer by itself (RFC 9111, section 5.2.1.1)
        if fetch.etag:
            headers["If-None-Match"] = fetch.etag
        if fetch.last_modified:
            headers["If-Modified-Since"] = fetch.last_modified
        return headers

    def _take(self, request: Request, reply: WireReply, fetch: Fetch, final_url: str) -> SourceImage:
        headers = reply.headers
        self._judge(request, reply, fetch)
        content = b""
        if reply.status_code != 304:
            try:
                content = read_body(reply, self._settings, headers.get("content-encoding", ""))
            finally:
                request.lap("body")
        return SourceImage(
            content=content,
            reply=Reply(
                status_code=reply.status_code,
                content_type=headers.get("content-type", "")[:_LONGEST_FACT],
                etag=headers.get("etag", "")[:_LONGEST_FACT],
                last_modified=headers.get("last-modified", "")[:_LONGEST_FACT],
                final_url=final_url,
                attempts=fetch.attempt,
            ),
        )

    def _judge(self, request: Request, reply: WireReply, fetch: Fetch) -> None:
        """Raises `StageError` when the reply is not what was asked for."""
        asked = Asked(
            host=reply.host,
            conditional=bool(fetch.etag or fetch.last_modified),
            max_bytes=self._settings.max_bytes,
            honour_robots=request.site.honour_robots,
            robots_name=self._robots_name,
        )
        try:
            judge(reply.status_code, reply.headers, asked)
        except StageError:
            if reply.status_code in (429, 503):
                self._transport.give_up_idle(request, reply)
            raise

    def abort(self) -> None:
        """Shuts the socket in use; this and every later call ends as `cancelled`. From any thread."""
        self._transport.interrupt.fire()

    def close(self) -> None:
        """Leaves the run's connections; with the last worker they are closed."""
        pools.leave(self._settings)


class Download(Settings, frozen=True, kw_only=True):
    """The stage `download`: takes `Item[Fetch]`, gives `SourceImage` or `Moved`. Picklable; limits: see `Settings`."""

    @property
    def name(self) -> str:
        """The stage's name."""
        return "download"

    @property
    def preload(self) -> tuple[str, ...]:
        """What a fork server imports once."""
        return ("batchproc.download.fetch",)

    def open(self) -> DownloadWork:
        """Prepares one worker, which shares the connections of all that this process opens with equal settings."""
        return DownloadWork(self)
