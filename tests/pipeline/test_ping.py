"""The health check hears of start and end; it is bounded, and its secret URL is never told."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import requests
import responses

from batchproc.pipeline.monitoring import Ping

from .site import serving

SECRET = "7f3a-secret"


class Check(ThreadingHTTPServer):
    """A health check on this machine. `status` is what it answers; `hold` makes it trickle its head."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.paths: list[str] = []
        self.bodies: list[str] = []
        self.knows_post = True
        self.status = 200
        self.hold: threading.Event | None = None
        self.url = f"http://127.0.0.1:{self.server_address[1]}/{SECRET}"


class Handler(BaseHTTPRequestHandler):
    server: Check

    def do_GET(self) -> None:
        self.server.paths.append(self.path)
        while self.server.hold is not None and not self.server.hold.wait(0.01):
            self.wfile.write(b"H")  # a byte now and then: no time-out of a socket ever passes
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        if not self.server.knows_post:
            self.send_error(405)
            return
        self.server.bodies.append(body)
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Says nothing."""


@pytest.fixture
def check() -> Iterator[Check]:
    with serving(Check()) as server:
        yield server


def test_start_success_and_the_exit_code_have_their_paths(check: Check) -> None:
    ping = Ping(check.url, pytest.fail)

    ping.start()
    ping.end(0)
    ping.end(143)

    assert [f"/{SECRET}/start", f"/{SECRET}", f"/{SECRET}/143"] == check.paths


def test_why_a_run_ended_badly_goes_with_its_exit_code(check: Check) -> None:
    Ping(check.url, pytest.fail).end(3, "small: 5 of 6 items failed … exit 3")

    assert ([f"/{SECRET}/3"], ["small: 5 of 6 items failed … exit 3"]) == (check.paths, check.bodies)


def test_a_check_that_takes_no_post_is_asked_without_the_reason(check: Check) -> None:
    check.knows_post = False

    Ping(check.url, pytest.fail).end(3, "why")

    assert ([f"/{SECRET}/3"], []) == (check.paths, check.bodies)


def test_a_query_stays_behind_the_path(check: Check) -> None:
    Ping(f"{check.url}/?create=1", pytest.fail).end(3)

    assert [f"/{SECRET}/3?create=1"] == check.paths


def test_without_a_url_nothing_is_asked() -> None:
    ping = Ping("", pytest.fail)

    ping.start()
    ping.end(1)


def test_an_unhappy_answer_is_a_warning(check: Check) -> None:
    told: list[str] = []
    check.status = 404

    Ping(check.url, told.append).end(0)

    assert ["warning: the health check (ping_url) was not told: it answered 404"] == told


def test_a_check_that_is_down_is_a_warning_without_the_url(check: Check) -> None:
    told: list[str] = []
    check.server_close()

    Ping(check.url, told.append).start()

    assert 1 == len(told)
    assert "ConnectionError" in told[0]
    assert SECRET not in told[0]


def test_a_trickling_check_is_not_waited_for(check: Check) -> None:
    told: list[str] = []
    check.hold = threading.Event()

    Ping(check.url, told.append, longest_seconds=0.1).start()
    check.hold.set()

    assert ["warning: the health check (ping_url) was not told: no answer within 0.1 s"] == told


def test_the_proxy_of_the_environment_is_not_asked(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")

    Ping(check.url, pytest.fail).end(0)

    assert [f"/{SECRET}"] == check.paths


def test_its_repr_keeps_the_secret(check: Check) -> None:
    assert SECRET not in repr(Ping(check.url, pytest.fail))


@responses.activate
@pytest.mark.parametrize(
    "error",
    [
        requests.exceptions.SSLError(f"https://check.example/{SECRET}"),
        requests.exceptions.ProxyError(f"https://check.example/{SECRET}"),
        requests.exceptions.ConnectionError(f"https://check.example/{SECRET}"),
        requests.exceptions.InvalidHeader(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_of_the_library_is_told_by_its_name_alone(error: Exception) -> None:
    responses.get(f"https://check.example/{SECRET}", body=error)
    told: list[str] = []

    Ping(f"https://check.example/{SECRET}", told.append).end(0)

    assert [f"warning: the health check (ping_url) was not told: {type(error).__name__}"] == told


@responses.activate
@pytest.mark.parametrize("status_code", [404, 405, 501])
def test_a_check_that_knows_only_get_is_asked_again_without_the_reason(status_code: int) -> None:
    responses.post(f"https://check.example/{SECRET}/3", status=status_code)
    responses.get(f"https://check.example/{SECRET}/3")
    told: list[str] = []

    Ping(f"https://check.example/{SECRET}", told.append).end(3, "3 of 4 failed")

    assert [] == told
    assert ["POST", "GET"] == [call.request.method for call in responses.calls]
