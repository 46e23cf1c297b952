"""The download stage behind `requests`: the package `responses` stands where the network is."""

import pytest
import requests
import responses
import urllib3

from batchproc.errors import Retry
from tests.download.conftest import Open, failure, fetch
from tests.download.scripted import JPEG

URL = "http://images.example/a.jpg?token=hidden"


@responses.activate
def test_the_transport_is_the_adapter_of_requests(opened: Open) -> None:
    responses.get(URL, body=JPEG, content_type="image/jpeg", headers={"ETag": '"1"'})

    original = fetch(opened(), URL)

    assert (JPEG, "image/jpeg", '"1"') == (original.content, original.reply.content_type, original.reply.etag)
    assert "identity" == responses.calls[0].request.headers["Accept-Encoding"]


@responses.activate
def test_redirects_are_followed_here_and_not_by_requests(opened: Open) -> None:
    responses.get("http://images.example/a", status=302, headers={"Location": "//cdn.example/b"})
    responses.get("http://cdn.example/b", body=JPEG)

    assert "http://cdn.example/b" == fetch(opened(), "http://images.example/a").reply.final_url


@responses.activate
def test_cookies_are_not_kept(opened: Open) -> None:
    responses.get(URL, body=JPEG, headers={"Set-Cookie": "a=1"})
    work = opened()
    fetch(work, URL)
    fetch(work, URL)

    assert "Cookie" not in responses.calls[1].request.headers


@responses.activate
@pytest.mark.parametrize("status", [404, 500])
def test_a_status_is_a_failure(opened: Open, status: int) -> None:
    responses.get(URL, status=status)

    assert f"http.{status}" == failure(opened(), URL).code


@responses.activate
@pytest.mark.parametrize(
    ("error", "code", "retry"),
    [
        (requests.exceptions.SSLError("hidden"), "tls", Retry.NEXT_RUN),
        (requests.exceptions.ConnectTimeout("hidden"), "timeout.connect", Retry.BACKOFF),
        (requests.exceptions.ReadTimeout("hidden"), "timeout.first_byte", Retry.BACKOFF),
        (requests.exceptions.ConnectionError("hidden"), "connect", Retry.BACKOFF),
        (requests.exceptions.InvalidURL("hidden"), "input.url", Retry.NEVER),
        (urllib3.exceptions.ProtocolError("hidden"), "truncated", Retry.BACKOFF),
        (urllib3.exceptions.HTTPError("hidden"), "proto", Retry.ONCE),
        (ConnectionResetError("hidden"), "connect", Retry.BACKOFF),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else None,
)
def test_library_errors_become_failures_without_their_text(
    opened: Open, error: Exception, code: str, retry: Retry
) -> None:
    responses.get(URL, body=error)

    caught = failure(opened(), URL)

    assert (code, retry) == (caught.code, caught.retry)
    assert "hidden" not in caught.message
    assert caught.__cause__ is None
