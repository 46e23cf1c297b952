"""TLS: certificates are checked against the name, and a handshake cannot keep a worker waiting."""

import shutil
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchproc.download import connection
from batchproc.download.settings import Site
from batchproc.errors import Code, Retry
from tests.download.conftest import Open, failure, fetch, quick
from tests.download.scripted import JPEG, Handler, Peer, Server, always, silent_after

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command for a certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A self-signed certificate for localhost, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", path)
    names = ("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost")
    command = ("openssl", "req", "-x509", "-days", "2", *key, *names, "-out", f"{path}.crt")
    subprocess.run(command, check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.crt").read_text())
    return path


def wrapped(certificate: Path, handler: Handler) -> Handler:
    """The same handler behind TLS."""

    def handle(peer: Peer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        with context.wrap_socket(peer.raw, server_side=True) as peer.raw:
            handler(peer)

    return handle


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trusts the certificate, and resolves localhost to IPv4 only."""
    context = ssl.create_default_context(cafile=str(certificate))
    monkeypatch.setattr(connection, "_contexts", {("", "", ""): context})


def secure(server: Server, host: str = "localhost") -> str:
    return f"https://{host}:{server.port}/a.jpg"


@pytest.mark.usefixtures("trusted")
def test_an_image_arrives_over_a_kept_connection(opened: Open, certificate: Path) -> None:
    with Server(wrapped(certificate, always())) as server:
        work = opened()
        assert [JPEG, JPEG] == [fetch(work, secure(server)).content for _ in range(2)]
        assert 1 == server.connections


@pytest.mark.usefixtures("trusted")
def test_a_certificate_for_another_name_is_refused(opened: Open, certificate: Path) -> None:
    with Server(wrapped(certificate, always())) as server:
        error = failure(opened(), secure(server, "127.0.0.1"))

    assert ("tls", Retry.NEXT_RUN) == (error.code, error.retry)
    assert "the certificate of 127.0.0.1 is for another name" == error.message


def test_an_unknown_authority_is_refused(opened: Open, certificate: Path) -> None:
    with Server(wrapped(certificate, always())) as server:
        error = failure(opened(), secure(server))

    assert ("tls", Retry.NEXT_RUN) == (error.code, error.retry)
    assert "the certificate of localhost is of an unknown authority" == error.message
    assert "ca_file" in error.hint
    assert [] == server.requests


def test_a_server_without_tls_is_told_from_a_bad_certificate(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        peer.raw.recv(100)
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    with Server(handle) as server:
        error = failure(opened(), secure(server))

    assert ("tls", Retry.ONCE) == (error.code, error.retry)


def test_a_silent_handshake_times_out(opened: Open) -> None:
    with Server(Peer.wait_for_close) as server:
        error = failure(opened(connect_timeout_seconds=0.2), secure(server))

    assert ("timeout.connect", Retry.BACKOFF) == (error.code, error.retry)


def test_a_trickled_handshake_times_out(opened: Open) -> None:
    def handle(peer: Peer) -> None:
        peer.send(b"\x16\x03\x03\x3f\xff")  # a long record begins
        peer.trickle(b"\x02", 0.01)

    with Server(handle) as server:
        error = failure(opened(connect_timeout_seconds=0.2), secure(server))

    assert ("timeout.connect", Retry.BACKOFF) == (error.code, error.retry)


@pytest.mark.usefixtures("trusted")
def test_a_stalled_body_times_out(opened: Open, certificate: Path) -> None:
    stalled = silent_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\xff")
    with Server(wrapped(certificate, stalled)) as server, quick(Code.TIMEOUT_IDLE):
        error = failure(opened(), secure(server))

    assert "timeout.idle" == error.code


@pytest.mark.usefixtures("trusted")
def test_a_trickled_body_is_cut_at_the_total_timeout(opened: Open, certificate: Path) -> None:
    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n\xff\xd8\xff")
        peer.trickle(b"\0")

    with Server(wrapped(certificate, handle)) as server:
        error = failure(opened(total_timeout_seconds=0.5), secure(server))

    assert "timeout.total" == error.code


@pytest.mark.usefixtures("trusted")
def test_a_proxy_opens_a_tunnel_and_sees_nothing_else(opened: Open, certificate: Path) -> None:
    def tunnel(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        wrapped(certificate, always())(peer)

    with Server(tunnel) as proxy:
        work = opened(proxy=f"http://user:pw@127.0.0.1:{proxy.port}")
        contents = [fetch(work, "https://localhost/a.jpg").content for _ in range(2)]

    assert [JPEG, JPEG] == contents
    assert proxy.requests[0].startswith(b"CONNECT localhost:443 HTTP/1.")
    assert b"authorization" not in proxy.requests[1].lower()
    assert 1 == proxy.connections


@pytest.mark.usefixtures("trusted")
def test_a_proxy_may_itself_be_reached_over_tls(opened: Open, certificate: Path) -> None:
    body = JPEG * 200

    def tunnel(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
        inner = Layer(peer, certificate)
        for _ in range(2):
            assert inner.receive().startswith(b"GET /a.jpg HTTP/1.1\r\nHost: localhost\r\n")
            inner.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    with Server(wrapped(certificate, tunnel)) as proxy:
        work = opened(proxy=f"https://localhost:{proxy.port}")
        contents = [fetch(work, "https://localhost/a.jpg").content for _ in range(2)]

    assert [body, body] == contents
    assert 1 == proxy.connections


class Layer:
    """The server's side of TLS inside TLS."""

    def __init__(self, peer: Peer, certificate: Path) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        self._peer = peer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._do(self._tls.do_handshake)

    def receive(self) -> bytes:
        return self._do(lambda: self._tls.read(65536))

    def send(self, octets: bytes) -> None:
        self._do(lambda: self._tls.write(octets))

    def _do(self, operation: Callable[[], Any]) -> Any:
        while True:
            try:
                return operation()
            except ssl.SSLWantReadError:
                self._peer.raw.sendall(self._outgoing.read())
                self._incoming.write(self._peer.raw.recv(65536))
            finally:
                self._peer.raw.sendall(self._outgoing.read())


def test_a_proxy_that_refuses_says_so_with_its_status(opened: Open) -> None:
    with Server(always(b"", "403 Forbidden")) as proxy:
        error = failure(opened(proxy=f"http://user:secret@127.0.0.1:{proxy.port}"), "https://localhost/a.jpg")

    assert ("proxy", Retry.NEXT_RUN) == (error.code, error.retry)
    assert "the proxy did not open a tunnel to localhost: it answered 403" == error.message


def asking(certificate: Path, handler: Handler) -> Handler:
    """The same handler behind TLS 1.3, for clients alone that show the same certificate."""

    def handle(peer: Peer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        context.load_verify_locations(f"{certificate}.crt")
        context.verify_mode = ssl.CERT_REQUIRED
        with context.wrap_socket(peer.raw, server_side=True) as peer.raw:
            handler(peer)

    return handle


def test_an_authority_of_ones_own_is_trusted_beside_the_public_ones(opened: Open, certificate: Path) -> None:
    with Server(wrapped(certificate, always())) as server:
        assert JPEG == fetch(opened(ca_file=f"{certificate}.crt"), secure(server)).content


def test_a_server_that_asks_for_a_client_certificate_is_a_final_failure_that_says_so(
    opened: Open, certificate: Path
) -> None:
    with Server(asking(certificate, always())) as server:
        error = failure(opened(ca_file=f"{certificate}.crt"), secure(server))

    assert ("tls", Retry.NEVER) == (error.code, error.retry)
    assert "localhost asks for a client certificate" == error.message


def test_a_client_certificate_is_shown_to_the_host_it_is_for(opened: Open, certificate: Path) -> None:
    site = Site(per_host=8, honour_robots=False, ca_file=f"{certificate}.crt", client_cert=str(certificate))
    with Server(asking(certificate, always())) as server:
        assert JPEG == fetch(opened(sites=(("localhost", site),)), secure(server)).content


def test_the_context_is_made_once() -> None:
    assert connection.tls_context() is connection.tls_context()
    assert ssl.CERT_REQUIRED == connection.tls_context().verify_mode
    assert connection.tls_context().check_hostname
