"""The client of one worker: a URL in, its bytes and the facts of the reply out, over at most ten redirects."""

from typing import Any
from urllib.parse import unquote

import requests
import urllib3
from requests.auth import _basic_auth_str

from batchproc.download import urls
from batchproc.download.body import read_body
from batchproc.download.faults import explain
from batchproc.download.flight import Flight
from batchproc.download.pool import LeanAdapter, LeanReply, LeanRequest
from batchproc.download.robots import RobotsGate, product_token
from batchproc.download.settings import Settings
from batchproc.download.urls import Location
from batchproc.download.verdict import REDIRECTS, Asked, judge
from batchproc.download.wire import StaleConnectionError
from batchproc.errors import Code, StageError
from batchproc.model import Fetch, Original, Reply
from batchproc.protocols import Lap

MOST_HOPS = 10
_LONGEST_FACT = 1024  # of a header that is kept


class Client:
    """Downloads one URL at a time over kept-alive connections. For one thread; `abort` may come from any."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._flight = Flight(settings)
        self._adapter = LeanAdapter(self._flight)
        self._timeout = urllib3.Timeout(settings.connect_timeout_seconds, settings.first_byte_timeout_seconds)
        self._own_headers = {name: value for name, value in settings.headers if name.lower() != "host"}
        self._robots_name = product_token(settings.user_agent)
        self._robots = RobotsGate(self._flight, self._send_for_rules) if settings.honour_robots else None

    def fetch(self, url: str, fetch: Fetch, lap: Lap) -> Original:
        """Downloads `url`. Books dns, connect, first_byte and body on `lap`.

        An unchanged image (304, when `fetch` carries a validator) has empty content. Raises `StageError`.
        """
        self._flight.begin(lap)
        try:
            return self._follow(url, fetch)
        finally:
            self._flight.finish()

    def _follow(self, url: str, fetch: Fetch) -> Original:
        location = first = urls.parse(url)
        seen: set[tuple[urls.Origin, str]] = set()
        own = True  # until a redirect leaves the first origin
        while len(seen) <= MOST_HOPS:
            seen.add((location.origin, location.target))
            if self._robots is not None:
                self._robots.admit(location)
            reply = self._send(LeanRequest(location, self._headers(location, fetch, own)))
            try:
                self._flight.lap("first_byte")
                if reply.status_code not in REDIRECTS:
                    final_url = url if location is first else location.url
                    return self._take(reply, fetch, final_url)
                location = urls.follow(location, reply.headers.get("location", ""))
            finally:
                reply.raw.close()
            own = own and location.origin == first.origin
            if (location.origin, location.target) in seen:
                raise StageError(Code.REDIRECT, "the redirects go round in a circle")
        raise StageError(Code.REDIRECT, f"more than {MOST_HOPS} redirects")

    def _send(self, request: LeanRequest) -> LeanReply:
        """One exchange; a kept connection that turns out to be closed is replaced once."""
        self._flight.host = request.location.origin.host
        self._flight.start = self._flight.end = 0
        try:
            try:
                return self._send_once(request)
            except StaleConnectionError:
                return self._send_once(request)
        except (requests.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
            self._flight.watch.check()
            raise explain(error, self._flight.host) from None

    def _send_once(self, request: LeanRequest) -> LeanReply:
        reply: Any = self._adapter.send(request, stream=True, timeout=self._timeout, verify=True)  # type: ignore[arg-type]
        return reply  # type: ignore[no-any-return]

    def _send_for_rules(self, location: Location) -> LeanReply:
        return self._send(LeanRequest(location, self._plain_headers(location, "text/plain,*/*;q=0.5")))

    def _plain_headers(self, location: Location, accept: str) -> dict[str, str]:
        return {
            "Host": location.origin.authority,
            "User-Agent": self._settings.user_agent,
            "Accept": accept,
            "Accept-Encoding": "identity",
            "Connection": "keep-alive",
        }

    def _headers(self, location: Location, fetch: Fetch, own: bool) -> dict[str, str]:
        headers = self._plain_headers(location, "image/*,*/*;q=0.5")
        if own:
            headers |= self._own_headers
            if location.user_info:
                headers["Authorization"] = _basic_auth_str(*_credentials(location.user_info))
        if fetch.etag:
            headers["If-None-Match"] = fetch.etag
        if fetch.last_modified:
            headers["If-Modified-Since"] = fetch.last_modified
        return headers

    def _take(self, reply: LeanReply, fetch: Fetch, final_url: str) -> Original:
        headers = reply.headers
        judge(
            reply.status_code,
            headers,
            Asked(
                host=self._flight.host,
                conditional=bool(fetch.etag or fetch.last_modified),
                max_bytes=self._settings.max_bytes,
                honour_robots=self._settings.honour_robots,
                robots_name=self._robots_name,
                max_retry_after_seconds=self._settings.max_retry_after_seconds,
            ),
        )
        content = b""
        if reply.status_code != 304:
            content = self._read(reply, headers.get("content-encoding", ""))
        return Original(
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

    def _read(self, reply: LeanReply, coding: str) -> bytes:
        try:
            return read_body(reply.raw, self._flight, coding)
        except (urllib3.exceptions.HTTPError, OSError) as error:
            self._flight.watch.check()
            raise explain(error, self._flight.host) from None
        finally:
            self._flight.lap("body")

    def abort(self) -> None:
        """Ends a download in progress, and refuses any other. From any thread."""
        self._flight.watch.abort()

    def close(self) -> None:
        """Closes the kept connections and ends the watch."""
        self._adapter.close()
        self._flight.close()


def _credentials(user_info: str) -> tuple[str, str]:
    user, _, password = user_info.partition(":")
    return unquote(user), unquote(password)
