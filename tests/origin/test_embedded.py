"""The server as a process of its own, spoken to over real sockets."""

import http.client
import io
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

from batchproc.errors import UsageError
from batchproc.origin import EmbeddedOrigin, OriginError, OriginSettings
from batchproc.origin.pictures import load_pictures
from batchproc.origin.site import FAULT_CYCLE, Fault

PATIENCE_SECONDS = 30.0


@pytest.fixture(scope="module")
def misbehaving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedOrigin]:
    """One turn of all faults, on small pictures."""
    folder = tmp_path_factory.mktemp("misbehaving")
    for number in range(len(FAULT_CYCLE)):
        Image.linear_gradient("L").rotate(number * 20).save(folder / f"{number:02}.jpg")
    with EmbeddedOrigin(OriginSettings(photos=str(folder), latency_seconds=0, faults=1.0)) as origin:
        yield origin


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with two pictures of the user's, one under a name that says another format."""
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red one.jpg", "JPEG")
    Image.new("RGB", (40, 30), "blue").save(tmp_path / "blue.jpg", "PNG")
    return tmp_path


def client_of(origin: EmbeddedOrigin) -> http.client.HTTPConnection:
    address = urlsplit(origin.base_url)
    assert address.hostname
    return http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE_SECONDS)


def fetch(origin: EmbeddedOrigin, path: str) -> tuple[int, str, bytes]:
    client = client_of(origin)
    try:
        client.request("GET", path)
        response = client.getresponse()
        return response.status, response.headers.get("Content-Type", ""), response.read()
    finally:
        client.close()


def faulty_path(origin: EmbeddedOrigin, fault: Fault) -> str:
    return next(entry.path for entry in origin.listing() if entry.fault is fault)


def test_it_serves_the_pictures_of_the_seed_over_one_connection() -> None:
    made = load_pictures(3, 5)
    with EmbeddedOrigin(OriginSettings(images=3, seed=5, latency_seconds=0.001, faults=False)) as origin:
        client = client_of(origin)
        served = []
        for path in origin.paths():
            client.request("GET", path)
            served.append(client.getresponse().read())
        client.close()

    assert made == served
    assert origin.totals is not None
    assert (3, 1) == (origin.totals.requests, origin.totals.connections)
    assert origin.totals.bytes > sum(map(len, made))
    assert origin.totals.cpu_seconds > 0


def test_a_url_that_is_not_there_and_robots_txt_are_404(misbehaving: EmbeddedOrigin) -> None:
    assert 404 == fetch(misbehaving, "/robots.txt")[0]
    assert 404 == fetch(misbehaving, "/img/9999.jpg")[0]
    assert 404 == fetch(misbehaving, faulty_path(misbehaving, Fault.NOT_FOUND))[0]


def test_a_truncated_body_ends_early(misbehaving: EmbeddedOrigin) -> None:
    with pytest.raises(http.client.IncompleteRead):
        fetch(misbehaving, faulty_path(misbehaving, Fault.TRUNCATED))


def test_a_web_page_is_passed_off_as_a_picture(misbehaving: EmbeddedOrigin) -> None:
    status, content_type, content = fetch(misbehaving, faulty_path(misbehaving, Fault.HTML))

    assert (200, "image/jpeg") == (status, content_type)
    assert content.startswith(b"<!DOCTYPE html>")


def test_a_corrupt_picture_arrives_whole_and_does_not_decode(misbehaving: EmbeddedOrigin) -> None:
    status, _, content = fetch(misbehaving, faulty_path(misbehaving, Fault.CORRUPT))

    assert 200 == status
    with pytest.raises(OSError), Image.open(io.BytesIO(content)) as image:  # noqa: PT011 - Pillow says no more
        image.load()


def test_an_unavailable_picture_comes_on_the_second_try(misbehaving: EmbeddedOrigin) -> None:
    path = faulty_path(misbehaving, Fault.UNAVAILABLE)

    assert [503, 200] == [fetch(misbehaving, path)[0], fetch(misbehaving, path)[0]]


def test_the_index_is_a_list_of_urls(misbehaving: EmbeddedOrigin) -> None:
    _, content_type, content = fetch(misbehaving, "/")
    lines = content.decode().splitlines()

    assert content_type.startswith("text/plain")
    assert [misbehaving.base_url + path for path in misbehaving.paths()] == [
        line for line in lines if not line.startswith("#")
    ]
    assert 12 == sum(line.startswith("# misbehaves: ") for line in lines)


def test_the_users_photos_are_served_by_name_and_typed_by_content(photos: Path) -> None:
    with EmbeddedOrigin(OriginSettings(photos=str(photos), latency_seconds=0)) as origin:
        replies = [fetch(origin, path) for path in origin.paths()]

    assert ["/blue.jpg", "/red%20one.jpg"] == origin.paths()
    assert [
        (200, "image/png", (photos / "blue.jpg").read_bytes()),
        (200, "image/jpeg", (photos / "red one.jpg").read_bytes()),
    ] == replies


def test_a_port_in_use_is_a_usage_error(photos: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

        with pytest.raises(UsageError, match=rf"port = {port}: cannot listen on 127.0.0.1"):
            EmbeddedOrigin(OriginSettings(photos=str(photos), port=port)).__enter__()


def test_an_origin_that_is_not_ready_in_time_is_an_error_and_leaves_no_process(photos: Path) -> None:
    origin = EmbeddedOrigin(OriginSettings(photos=str(photos)), start_seconds=0.0)

    with pytest.raises(OriginError, match="was not ready after 0 s"):
        origin.__enter__()
    with pytest.raises(OriginError, match="is not running"):
        _ = origin.pid


def test_ctrl_c_is_left_to_the_parent(photos: Path) -> None:
    with EmbeddedOrigin(OriginSettings(photos=str(photos), latency_seconds=0)) as origin:
        os.kill(origin.pid, signal.SIGINT)

        assert 200 == fetch(origin, "/blue.jpg")[0]


def test_ctrl_c_is_left_to_the_parent_from_the_childs_first_moment(
    photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = subprocess.Popen

    def start_and_interrupt(*arguments: Any, **options: Any) -> "subprocess.Popen[bytes]":
        process = start(*arguments, **options)
        process.send_signal(signal.SIGINT)
        return process

    monkeypatch.setattr("batchproc.origin.subprocess.Popen", start_and_interrupt)
    with EmbeddedOrigin(OriginSettings(photos=str(photos), latency_seconds=0)) as origin:
        os.kill(origin.pid, signal.SIGINT)

        assert 200 == fetch(origin, "/blue.jpg")[0]
        assert signal.SIGINT not in signal.pthread_sigmask(signal.SIG_BLOCK, [])


def test_sigterm_ends_it_with_its_totals(photos: Path) -> None:
    with EmbeddedOrigin(OriginSettings(photos=str(photos), latency_seconds=0)) as origin:
        os.kill(origin.pid, signal.SIGTERM)
        os.waitid(os.P_PID, origin.pid, os.WEXITED | os.WNOWAIT)

    assert origin.totals is not None
    assert 0 == origin.totals.requests


def test_it_ends_when_its_parent_is_killed(photos: Path) -> None:
    parent = (
        "import sys; from batchproc.origin import *\n"
        f"with EmbeddedOrigin(OriginSettings(photos={str(photos)!r}, latency_seconds=0)) as origin:\n"
        "    print(origin.base_url, flush=True); sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        address = urlsplit(process.stdout.readline().decode().strip())
        assert address.hostname
        assert address.port
        with socket.create_connection((address.hostname, address.port), PATIENCE_SECONDS) as connection:
            connection.sendall(b"GET /blue.jpg HTTP/1.1\r\n\r\n")
            assert connection.recv(12) == b"HTTP/1.1 200"
            process.kill()
            while connection.recv(65536):  # ends with the server; a server that lives on fails the time limit
                pass

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname, address.port), PATIENCE_SECONDS)


def test_it_runs_by_itself_until_ctrl_c(photos: Path) -> None:
    command = [sys.executable, "-m", "batchproc", "origin", "--photos", str(photos)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()

    assert first.startswith("serving 2 pictures, 0 of which misbehave on purpose")
    assert "served 0 requests on 0 connections" in rest
    assert 0 == process.returncode


def test_wrong_options_are_told_in_one_line() -> None:
    command = [sys.executable, "-m", "batchproc", "origin", "--photos", "/no/such/folder"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)

    assert 2 == ended.returncode
    assert 'error: [origin] photos = "/no/such/folder": is not a folder\n' == ended.stderr


def test_the_parents_side_loads_neither_asyncio_nor_pillow() -> None:
    code = "import sys, batchproc.origin; print(sorted({'asyncio', 'PIL', 'pydantic'} & set(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "[]\n" == ended.stdout
