"""Tells a health check that a run begins and how it ended. Its URL is a secret, and its errors never fail a job."""

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from batchproc.redact import silence_urllib3

if TYPE_CHECKING:
    import requests

LONGEST_SECONDS = 5.0
NO_POST = (404, 405, 501)  # a health check that knows only GET


class Ping:
    """A health check at `url`, as healthchecks.io and its kin: `<url>/start`, `<url>`, `<url>/<exit code>`.

    What there is to say of an end goes with it, as the body of a POST, which they show; all else is a GET. An empty
    URL does nothing. `tell` hears a sentence when the check was not reached; it never holds the URL. Every call returns
    within `longest_seconds`, whatever name servers and trickling replies do.
    """

    def __init__(self, url: str, tell: Callable[[str], None], *, longest_seconds: float = LONGEST_SECONDS) -> None:
        silence_urllib3()
        self._url = url
        self._tell = tell
        self._longest_seconds = longest_seconds

    def start(self) -> None:
        """Says that the run begins."""
        self._send("start")

    def end(self, exit_code: int, why: str = "") -> None:
        """Says how the run ended, and in a line why."""
        self._send(str(int(exit_code)) if exit_code else "", why)

    def _send(self, part: str, body: str = "") -> None:
        if not self._url:
            return
        answers: list[str] = []
        thread = threading.Thread(target=self._ask, args=(_join(self._url, part), body, answers), daemon=True)
        thread.start()
        thread.join(self._longest_seconds)  # no socket time-out covers the name's resolution or a trickled head
        problem = answers[0] if answers else f"no answer within {self._longest_seconds:g} s"
        if problem:
            self._tell(f"warning: the health check (ping_url) was not told: {problem}")

    def _ask(self, url: str, body: str, answers: list[str]) -> None:
        import requests  # a tenth of the start, for jobs that have a health check

        try:
            with requests.Session() as session:
                session.trust_env = False
                status_code = self._request(session, url, body)
                if body and status_code in NO_POST:
                    status_code = self._request(session, url, "")
                answers.append("" if status_code < 400 else f"it answered {status_code}")
        except Exception as error:  # noqa: BLE001 - a thread has nobody above it, and the error's text holds the URL
            answers.append(type(error).__name__)

    def _request(self, session: "requests.Session", url: str, body: str) -> int:
        method, headers = ("POST", {"Content-Type": "text/plain; charset=utf-8"}) if body else ("GET", {})
        with session.request(
            method, url, data=body.encode(), headers=headers, timeout=self._longest_seconds, stream=True
        ) as reply:
            return reply.status_code

    def __repr__(self) -> str:
        return f"<Ping {'set' if self._url else 'off'}>"


def _join(url: str, part: str) -> str:
    """The URL with one more part of its path; a query stays behind it."""
    if not part:
        return url
    pieces = urlsplit(url)
    return urlunsplit(pieces._replace(path=f"{pieces.path.rstrip('/')}/{part}"))
