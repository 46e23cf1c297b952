"""robots.txt is read once per origin and obeyed on every hop; what cannot be read keeps us away for now."""

import gzip
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest

from batchproc.download import robots
from batchproc.download.connection import Deadline
from batchproc.download.reply import WireReply
from batchproc.download.robots import (
    KEEP_OBSTACLE_SECONDS,
    KEEP_SECONDS,
    Reading,
    RobotsGate,
    Rulebook,
    Rules,
    make_rules,
    product_token,
    relevant_lines,
)
from batchproc.download.settings import Settings
from batchproc.download.urls import Location, parse
from batchproc.errors import Code, Retry, StageError
from batchproc.protocols import Lap
from tests.download.conftest import Counts, Open, failure, fetch, item
from tests.download.scripted import JPEG, Handler, Peer, Server

KEY = ("https", "a.example", "batchproc")
CLOSED = b"User-agent: *\nDisallow: /\n"


@pytest.fixture(autouse=True)
def unread(monkeypatch: pytest.MonkeyPatch) -> Rulebook:
    """A process that has read no robots.txt yet: another test's server may have had the same port."""
    rulebook = Rulebook()
    monkeypatch.setattr(robots, "rulebook", rulebook)
    return rulebook


@pytest.fixture
def honouring(opened: Open) -> Open:
    return lambda **settings: opened(**{"honour_robots": True, "user_agent": "batchproc/9", **settings})


def site(octets: bytes, status: str = "200 OK", *fields: str) -> Handler:
    """A server with this robots.txt, and the same picture at every other path."""

    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            if head.startswith(b"GET /robots.txt "):
                peer.reply(octets, status, *fields)
            else:
                peer.reply()

    return handle


def raw_site(octets: bytes) -> Handler:
    """A server that answers the request for robots.txt with these bytes, and closes."""

    def handle(peer: Peer) -> None:
        assert peer.read_request().startswith(b"GET /robots.txt ")
        peer.send(octets)

    return handle


def paths(server: Server) -> list[str]:
    return [head.split(b" ")[1].decode() for head in server.requests]


@pytest.mark.parametrize(
    ("user_agent", "token"),
    [
        ("batchproc/0.1.0", "batchproc"),
        ("BatchProc", "batchproc"),
        ("my-bot_2/1.0 (+https://a.example/bot)", "my-bot_2"),
        ("bot (somebody@a.example)", "bot"),
        ("Mozilla/5.0 (compatible; FooBot/2.1; +https://a.example)", "foobot"),
        ("", ""),
    ],
)
def test_the_product_token_is_the_name_without_version_and_comment(user_agent: str, token: str) -> None:
    assert token == product_token(user_agent)


def allows(text: str | bytes, target: str) -> bool:
    octets = text.encode() if isinstance(text, str) else text
    try:
        make_rules(Reading(lines=relevant_lines(octets, "batchproc")), "batchproc").check(parse(f"https://a.example{target}"))
    except StageError:
        return False
    return True


@pytest.mark.parametrize(
    ("text", "target", "allowed"),
    [
        pytest.param("User-agent: *\nDisallow: /", "/a", False, id="everybody"),
        pytest.param("User-agent: *\nDisallow: /private", "/private/a", False, id="prefix"),
        pytest.param("User-agent: *\nDisallow: /private", "/public", True, id="other-path"),
        pytest.param("User-agent: *\nDisallow:", "/a", True, id="empty-disallow"),
        pytest.param("User-agent: *\nDisallow: /a\nAllow: /a/b", "/a/b/c", True, id="longest-match"),
        pytest.param("User-agent: *\nDisallow: /*.gif$", "/a.gif", False, id="wildcard"),
        pytest.param("User-agent: *\nDisallow: /*.gif$", "/a.gif?x", True, id="end"),
        pytest.param("User-agent: *\nDisallow: /*?size=", "/a?size=1", False, id="query"),
        pytest.param("User-agent: *\nDisallow: /a%7Eb", "/a~b", False, id="escaped"),
        pytest.param("User-agent: *\nDisallow: //a", "//a/b", False, id="two-slashes"),
        pytest.param("USER-AGENT:BatchProc/1.0\ndisallow:/", "/a", False, id="our-name-in-any-case"),
        pytest.param("User-agent: batchproc*\nDisallow: /", "/a", False, id="our-name-with-a-star"),
        pytest.param("User-agent: batch\nDisallow: /", "/a", True, id="a-shorter-name"),
        pytest.param("User-agent: batchproc-news\nDisallow: /", "/a", True, id="a-longer-name"),
        pytest.param("User-agent:\nDisallow: /", "/a", True, id="nobody"),
        pytest.param("Disallow: /", "/a", True, id="no-agent"),
        pytest.param("User-agent: *\nDisallow: /\nUser-agent: batchproc\nDisallow:", "/a", True, id="ours-wins"),
        pytest.param("User-agent: batchproc\nUser-agent: b\nDisallow: /", "/a", False, id="named-with-another"),
        pytest.param("User-agent: b\nUser-agent: batchproc\nDisallow: /", "/a", False, id="named-after-another"),
        pytest.param("User-agent: b\nDisallow: /\n\nUser-agent: *\nAllow: /", "/a", True, id="another-group"),
        pytest.param("User-agent: *\nSitemap: x\nUser-agent: b\nDisallow: /", "/a", False, id="sitemap-ends-no-group"),
        pytest.param("User-agent: *\n\nDisallow: /", "/a", False, id="blank-line-ends-no-group"),
        pytest.param("User-agent: batchproc\nDisallow: /x\nUser-agent: b\nDisallow: /\nUser-agent: batchproc\n"
                     "Disallow: /a", "/a", False, id="two-groups-are-one"),
        pytest.param("User-agent: * # all\nDisallow: /a # no", "/a", False, id="comments"),
        pytest.param("\ufeffUser-agent: *\r\nDisallow: /\r\n", "/a", False, id="bom-and-crlf"),
        pytest.param(b"\xff\xfe\nUser-agent: *\rDisallow: /", "/a", False, id="bytes-that-are-not-utf-8"),
        pytest.param("User-agent: *\nCrawl-delay: 60", "/a", True, id="crawl-delay"),
    ],
)  # fmt: skip
def test_rules_are_obeyed(text: str | bytes, target: str, allowed: bool) -> None:
    assert allowed == allows(text, target)


@pytest.mark.parametrize(
    "octets",
    [b"", b"\0" * 999, JPEG, b"<!DOCTYPE html><p>User-agent: *", "User-agent: *\nDisallow: /".encode("utf-16")],
    ids=["empty", "zeros", "picture", "page", "utf-16"],
)
def test_garbage_has_no_rules(octets: bytes) -> None:
    assert "" == relevant_lines(octets, "batchproc")


def test_only_the_rules_for_us_are_kept() -> None:
    others = "".join(f"User-agent: bot{number}\n" for number in range(300))
    rules = "".join(f"Disallow: /{number}\n" for number in range(300))

    assert "User-agent: *\nDisallow: /a" == relevant_lines(
        f"{others}{rules}User-agent: *\nDisallow: /a".encode(), "batchproc"
    )
    assert "" == relevant_lines((others + rules).encode(), "batchproc")


def test_a_disallowed_url_is_never_asked_for(honouring: Open) -> None:
    with Server(site(b"User-agent: *\nDisallow: /private")) as server:
        work = honouring()
        error = failure(work, server.url("/private/a.jpg?token=hidden"))
        assert JPEG == fetch(work, server.url("/a.jpg")).content

    assert ("policy.robots", Retry.NEVER) == (error.code, error.retry)
    assert "robots.txt of 127.0.0.1 disallows this URL" == error.message
    assert ["/robots.txt", "/a.jpg"] == paths(server)


def test_the_file_itself_is_always_allowed(honouring: Open) -> None:
    with Server(site(JPEG + CLOSED)) as server:
        assert fetch(honouring(), server.url("/robots.txt")).content.startswith(JPEG)
        assert ["/robots.txt"] == paths(server)


def test_nothing_is_asked_when_robots_are_not_honoured(honouring: Open) -> None:
    with Server(site(CLOSED)) as server:
        assert JPEG == fetch(honouring(honour_robots=False), server.url("/a")).content
        assert ["/a"] == paths(server)


def test_noai_is_heard_and_the_body_is_not_waited_for(honouring: Open) -> None:
    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.reply(b"", "404 Not Found", "X-Robots-Tag: noai")
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\nX-Robots-Tag: batchproc: noai\r\nContent-Length: 9\r\n\r\n")
        peer.wait_for_close()

    with Server(handle) as server:
        error = failure(honouring(), server.url())

    assert ("policy.noai", Retry.NEVER) == (error.code, error.retry)


@pytest.mark.parametrize("status", [204, 304, 400, 401, 403, 404, 410, 451])
def test_a_file_that_is_not_there_allows_all(honouring: Open, status: int) -> None:
    with Server(site(b"" if status in (204, 304) else CLOSED, f"{status} No")) as server:
        assert JPEG == fetch(honouring(), server.url()).content


@pytest.mark.parametrize("status", [429, 500, 502, 503])
def test_a_server_error_is_the_hosts_trouble_and_its_retry_after_is_heard(honouring: Open, status: int) -> None:
    with Server(site(b"", f"{status} Oh", "Retry-After: 7")) as server:
        error = failure(honouring(), server.url("/a?token=hidden"))

    assert ("policy.robots", Retry.HOST, 7.0) == (error.code, error.retry, error.retry_after_seconds)
    assert f"robots.txt of 127.0.0.1 cannot be read for now: the answer was {status}" == error.message
    assert ["/robots.txt"] == paths(server)


@pytest.mark.parametrize(
    ("handler", "settings", "reason"),
    [
        pytest.param(Peer.wait_for_close, {"first_byte_timeout_seconds": 0.2}, "in time", id="silent"),
        pytest.param(raw_site(b"SSH-2.0-x\r\n\r\n"), {}, "status line", id="not-http"),
        pytest.param(
            raw_site(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nx"), {}, "98 bytes early", id="truncated"
        ),
    ],
)
def test_a_reply_that_does_not_arrive_whole_keeps_us_away_for_now(
    honouring: Open, handler: Handler, settings: dict[str, float], reason: str
) -> None:
    with Server(handler) as server:
        error = failure(honouring(**settings), server.url())

    assert ("policy.robots", Retry.HOST) == (error.code, error.retry)
    assert reason in error.message


def test_a_trickled_file_ends_with_its_time(honouring: Open) -> None:
    def handle(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\n")
        peer.trickle(b"#")

    with Server(handle) as server:
        error = failure(honouring(total_timeout_seconds=0.3), server.url())

    assert ("policy.robots", Retry.HOST) == (error.code, error.retry)
    assert error.message.endswith("it took too long")


def test_an_origin_that_is_not_reached_fails_as_that(honouring: Open, unread: Rulebook) -> None:
    with Server(site(b"")) as server:
        private = failure(honouring(allow_addresses=()), server.url())
    refused = failure(honouring(), server.url())

    assert ("policy.address", Retry.NEVER) == (private.code, private.retry)
    assert ("connect", Retry.BACKOFF) == (refused.code, refused.retry)
    assert "<Rulebook 0 origins, 0 characters>" == repr(unread)


def test_a_proxy_that_refuses_a_tunnel_is_told_as_that(honouring: Open, unread: Rulebook) -> None:
    def refuse(peer: Peer) -> None:
        peer.read_request()
        peer.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with Server(refuse) as proxy:
        error = failure(honouring(proxy=f"http://127.0.0.1:{proxy.port}"), "https://img.test/a.jpg")

    assert ("proxy", Retry.NEXT_RUN) == (error.code, error.retry)
    assert "403" in error.message
    assert "<Rulebook 0 origins, 0 characters>" == repr(unread)


def test_the_request_carries_no_credentials_and_its_connection_is_kept(honouring: Open) -> None:
    with Server(site(b"nothing here", "404 Not Found")) as server:
        work = honouring(headers=(("Cookie", "a=1"),))
        fetch(work, f"http://user:pw@127.0.0.1:{server.port}/a")

    assert 1 == server.connections
    assert b"User-Agent: batchproc/9\r\n" in server.requests[0]
    assert b"Cookie" not in server.requests[0]
    assert b"Authorization" not in server.requests[0]
    assert b"Authorization" in server.requests[1]


def chain(length: int, end: bytes) -> Handler:
    """A robots.txt behind so many redirects."""

    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            path = head.split(b" ")[1].decode()
            number = 0 if path == "/robots.txt" else int(path.removeprefix("/hop") if "hop" in path else -1)
            if 0 <= number < length:
                peer.reply(b"ignored", "301 Moved", f"Location: /hop{number + 1}")
            else:
                peer.reply(end if number >= 0 else JPEG)

    return handle


def test_five_redirects_are_followed(honouring: Open) -> None:
    with Server(chain(5, CLOSED)) as server:
        assert "policy.robots" == failure(honouring(), server.url()).code


@pytest.mark.parametrize("length", [6, 99])
def test_more_redirects_lead_to_no_rules(honouring: Open, length: int) -> None:
    with Server(chain(length, CLOSED)) as server:
        assert JPEG == fetch(honouring(), server.url()).content
        assert ["/robots.txt", "/hop1", "/hop2", "/hop3", "/hop4", "/hop5", "/a.jpg"] == paths(server)


@pytest.mark.parametrize("where", ["", "ftp://a.example/", "http://127.0.0.1:25/robots.txt", "http://[/"])
def test_a_redirect_to_nowhere_leads_to_no_rules(honouring: Open, where: str) -> None:
    with Server(site(b"", "302 Found", f"Location: {where}")) as server:
        assert JPEG == fetch(honouring(), server.url()).content


def test_a_redirect_to_a_private_address_keeps_us_away_for_now(honouring: Open) -> None:
    with Server(site(b"", "302 Found", "Location: http://127.0.0.2/robots.txt")) as server:
        error = failure(honouring(allow_addresses=("127.0.0.1/32",)), server.url())

    assert ("policy.robots", Retry.NEXT_RUN) == (error.code, error.retry)
    assert "127.0.0.2 has no public address" in error.message


def test_the_rules_behind_a_redirect_count_for_the_origin_that_was_asked(honouring: Open) -> None:
    with Server(site(CLOSED)) as other, Server(site(b"", "301", f"Location: {other.url('/robots.txt')}")) as first:
        assert "policy.robots" == failure(honouring(), first.url("/a")).code
        assert (["/robots.txt"], ["/robots.txt"]) == (paths(first), paths(other))


def redirecting(where: str) -> Handler:
    """A server without a robots.txt, that sends us on."""

    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            if head.startswith(b"GET /robots.txt "):
                peer.reply(b"User-agent: *\nDisallow: /private")
            else:
                peer.reply(b"", "302 Found", f"Location: {where}")

    return handle


def test_a_redirect_to_another_origin_passes_its_rules(honouring: Open) -> None:
    with Server(site(CLOSED)) as other, Server(redirecting(other.url("/b"))) as first:
        assert "policy.robots" == failure(honouring(), first.url("/a")).code
        assert (["/robots.txt", "/a"], ["/robots.txt"]) == (paths(first), paths(other))


def test_a_redirect_within_the_origin_passes_its_rules(honouring: Open) -> None:
    with Server(redirecting("/private/b")) as server:
        assert "policy.robots" == failure(honouring(), server.url("/a")).code
        assert ["/robots.txt", "/a"] == paths(server)


def test_an_endless_file_is_cut(honouring: Open) -> None:
    def handle(peer: Peer) -> None:
        if not peer.read_request().startswith(b"GET /robots.txt "):
            return peer.reply()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\nUser-agent: *\nDisallow: /early\n")
        while True:
            peer.send(b"# and so on, without end\n" * 1000)

    with Server(handle) as server:
        work = honouring()
        assert "policy.robots" == failure(work, server.url("/early")).code
        assert JPEG == fetch(work, server.url("/a")).content


def test_a_rule_that_is_cut_in_half_is_no_rule(honouring: Open) -> None:
    head, half = b"User-agent: *\nDisallow: /early\n", b"\nDisallow: /"
    octets = head + b"#" * (robots.MOST_BYTES - len(head) - len(half)) + half + b"late\nDisallow: /later\n"
    with Server(site(octets)) as server:
        work = honouring()
        assert "policy.robots" == failure(work, server.url("/early")).code
        assert [JPEG, JPEG] == [fetch(work, server.url(path)).content for path in ("/late", "/later")]


@pytest.mark.parametrize(
    "octets",
    [gzip.compress(CLOSED), gzip.compress(CLOSED + b"#" * 9_000_000), CLOSED],
    ids=["packed", "long and packed", "plain"],
)
def test_a_coding_that_was_not_asked_for_is_undone_within_the_limit(honouring: Open, octets: bytes) -> None:
    with Server(site(octets, "200 OK", "Content-Encoding: gzip")) as server:
        assert "policy.robots" == failure(honouring(), server.url()).code


def test_a_compressed_bomb_is_not_unpacked() -> None:
    assert robots.MOST_BYTES == len(robots._decode(gzip.compress(bytes(9_000_000))))


def test_the_workers_of_a_process_read_it_once(honouring: Open) -> None:
    with Server(site(b"", "404 Not Found")) as server:
        works = [honouring() for _ in range(6)]
        threads = [threading.Thread(target=fetch, args=(work, server.url())) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert (1, 6) == (paths(server).count("/robots.txt"), paths(server).count("/a.jpg"))


def test_the_time_it_takes_is_booked_as_network(honouring: Open) -> None:
    lap = Counts()
    with Server(site(b"", "404 Not Found")) as server:
        work = honouring()
        for _ in range(2):
            work(item(server.url()), lap)

    assert ["dns", "connect", "first_byte", "first_byte", "body", "first_byte", "body"] == lap.parts


def test_the_clock_of_an_item_stands_still_meanwhile(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(robots, "time", SimpleNamespace(monotonic=lambda: clock.now))

    def leads_nowhere(location: Location, total: Deadline, lap: Lap) -> WireReply:
        clock.now += 50.0
        raise StageError(Code.POLICY_PORT, "a redirect to a bad port: no rules")

    gate = RobotsGate(Settings(), leads_nowhere, lambda: None)

    moved = gate.admit(parse("http://a.example/a"), Deadline(160.0, Code.TIMEOUT_TOTAL), Counts())

    assert Deadline(210.0, Code.TIMEOUT_TOTAL) == moved


class Halted:
    """A reading of rules that lasts until it is told how it ends."""

    def __init__(self) -> None:
        self.begun, self.ending = threading.Event(), threading.Event()
        self.outcome: Rules | StageError = Rules()

    def __call__(self) -> Rules:
        self.begun.set()
        assert self.ending.wait(10)
        if isinstance(self.outcome, StageError):
            raise self.outcome
        return self.outcome


def unwanted() -> Rules:
    raise AssertionError("read once more")


def found_by_two(rulebook: Rulebook, outcome: Rules | StageError, second: Rules | None = None) -> list[object]:
    """What two threads find: the first reads, the second asks while it does."""
    reading = Halted()
    found: list[object] = []
    reading.outcome = outcome

    def find() -> None:
        try:
            found.append(rulebook.find(KEY, reading, lambda: None))
        except StageError as error:
            found.append(error)

    thread = threading.Thread(target=find)
    thread.start()
    assert reading.begun.wait(10)
    try:
        found.append(rulebook.find(KEY, unwanted if second is None else lambda: second, reading.ending.set))
    except StageError as error:
        found.append(error)
    thread.join()
    return found


def test_whoever_asks_during_a_reading_waits_for_it(unread: Rulebook) -> None:
    rules = Rules(weight=7)

    assert [rules, rules] == found_by_two(unread, rules)
    assert rules is unread.known(KEY)


def test_whoever_waits_shares_the_failure_and_the_next_reads_again(unread: Rulebook) -> None:
    first, second = found_by_two(unread, StageError(Code.CONNECT, "no", hint="h", retry=Retry.BACKOFF))

    assert first is not second
    for error in (first, second):
        assert isinstance(error, StageError)
        assert ("connect", "no", "h", Retry.BACKOFF) == (error.code, error.message, error.hint, error.retry)
    assert Rules() == unread.find(KEY, Rules, lambda: None)


def test_when_the_reader_is_stopped_who_waits_reads(unread: Rulebook) -> None:
    rules = Rules(weight=7)
    found = found_by_two(unread, StageError(Code.CANCELLED, "stopped"), second=rules)

    assert rules in found
    assert rules is unread.known(KEY)


def test_whoever_waits_can_be_stopped(unread: Rulebook) -> None:
    reading = Halted()
    thread = threading.Thread(target=unread.find, args=(KEY, reading, lambda: None))
    thread.start()
    assert reading.begun.wait(10)

    def stopped() -> None:
        raise StageError(Code.CANCELLED, "stopped")

    with pytest.raises(StageError, match="stopped"):
        unread.find(KEY, unwanted, stopped)
    reading.ending.set()
    thread.join()


@pytest.mark.parametrize(
    ("rules", "seconds"), [(Rules(weight=7), KEEP_SECONDS), (Rules(obstacle="no"), KEEP_OBSTACLE_SECONDS)]
)
def test_rules_are_kept_for_a_day_and_obstacles_for_minutes(rules: Rules, seconds: float) -> None:
    clock = SimpleNamespace(now=1000.0)
    rulebook = Rulebook(clock=lambda: clock.now)
    rulebook.find(KEY, lambda: rules, lambda: None)

    clock.now += seconds - 1
    assert rules is rulebook.known(KEY)
    clock.now += 1
    assert rulebook.known(KEY) is None
    assert Rules() == rulebook.find(KEY, Rules, lambda: None)
    assert "<Rulebook 1 origins, 0 characters>" == repr(rulebook)


def test_the_origins_met_last_are_kept() -> None:
    rulebook = Rulebook(most_origins=3, most_characters=100)

    def learn(host: str, weight: int = 10) -> None:
        rulebook.find(("http", host, "batchproc"), lambda: Rules(weight=weight), lambda: None)

    def kept() -> str:
        return "".join(host for host in "abcdef" if rulebook.known(("http", host, "batchproc")) is not None)

    for host in "abc":
        learn(host)
    rulebook.known(("http", "a", "batchproc"))
    learn("d")
    assert "acd" == kept()
    learn("e", 85)
    assert "de" == kept()
    learn("f", 101)
    assert "<Rulebook 0 origins, 0 characters>" == repr(rulebook)


def test_a_worker_starts_without_the_parser() -> None:
    script = "import sys, batchproc.download.fetch; sys.exit('protego' in sys.modules)"

    assert 0 == subprocess.run([sys.executable, "-c", script]).returncode
