"""What a config says of one host holds for that host and for no other."""

from batchproc.download.settings import Site
from batchproc.hostname import closest
from tests.download.conftest import Open, failure, fetch
from tests.download.scripted import JPEG, Handler, Peer, Server, always

SECRET = (("Authorization", "Bearer of-one-host"),)


def site(**differences: object) -> Site:
    return Site(**{"per_host": 8, "honour_robots": False, **differences})  # type: ignore[arg-type]


def redirecting(url: str) -> Handler:
    def handle(peer: Peer) -> None:
        while peer.read_request():
            peer.reply(b"", "302 Found", f"Location: {url}")

    return handle


def test_the_closest_pattern_wins() -> None:
    patterns = {"a.example.org": 1, "*.example.org": 2, "*.org": 3, "a.example.org:8443": 4, "*.example.org:8443": 5}

    def found(host: str, port: int | None = None) -> int | None:
        return closest(patterns, host, port)

    assert [1, 4, 2, 5, 3, 3, None] == [
        found("a.example.org"), found("a.example.org", 8443), found("b.example.org"), found("x.b.example.org", 8443),
        found("example.org"), found("b.org", 8443), found("org"),
    ]  # fmt: skip
    assert 6 == closest({"a.org:443": 6}, "a.org")


def test_a_hosts_headers_go_to_it_alone_even_through_a_redirect(opened: Open) -> None:
    with Server(always()) as target, Server(redirecting(target.url().replace("127.0.0.1", "127.0.0.2"))) as first:
        work = opened(sites=(("127.0.0.1", site(headers=SECRET)),), headers=(("X-All", "a"),))
        failure(work, first.url())  # nobody listens at 127.0.0.2
        fetch(work, target.url())

    assert b"Bearer of-one-host" in first.requests[0]
    assert b"X-All: a" in first.requests[0]

    with Server(always()) as target, Server(redirecting(target.url())) as first:
        work = opened(sites=((f"127.0.0.1:{target.port}", site(headers=SECRET)),))
        assert JPEG == fetch(work, first.url()).content

    assert b"Bearer" not in first.requests[0]
    assert b"Bearer of-one-host" in target.requests[0]


def test_robots_are_asked_where_they_are_honoured(opened: Open) -> None:
    with Server(always(b"", "404 Not Found")) as server:
        failure(opened(sites=(("127.0.0.1", site(honour_robots=True)),)), server.url())
        failure(opened(sites=(("127.0.0.9", site(honour_robots=True)),)), server.url())

    paths = [head.split(b" ")[1] for head in server.requests]
    assert [b"/robots.txt", b"/a.jpg", b"/a.jpg"] == paths


def test_a_host_may_be_asked_through_a_proxy_of_its_own(opened: Open) -> None:
    with Server(always()) as proxy, Server(always()) as server:
        work = opened(sites=(("img.test", site(proxy=f"http://127.0.0.1:{proxy.port}")),))
        fetch(work, "http://img.test/a.jpg")
        fetch(work, server.url())

    assert proxy.requests[0].startswith(b"GET http://img.test/a.jpg ")
    assert 1 == len(server.requests)
