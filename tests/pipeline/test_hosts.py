"""Hosts that refuse, in whole runs on real sockets: what is left of the list, and what the next run does."""

import io
import json
from pathlib import Path

import pytest
from PIL import Image

from batchproc.errors import ExitCode, UsageError
from tests.download.scripted import Handler, Peer, Server
from tests.jobs import CONFIG

from .test_modes import MODES, run


def picture() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (100, 100), "red").save(file, "PNG")
    return file.getvalue()


def refusing(status: str, *fields: str) -> Handler:
    """Refuses the paths that begin with /no, and answers the others with a picture."""
    good = picture()

    def handle(peer: Peer) -> None:
        while head := peer.read_request():
            if head.startswith(b"GET /no"):
                peer.reply(b"", status, *fields)
            else:
                peer.reply(good)

    return handle


def job(folder: Path, urls: list[str]) -> Path:
    (folder / "list.txt").write_text("\n".join(urls) + "\n")
    config = folder / "job.toml"
    config.write_text(CONFIG.format(base_url="", transform=""))
    return config


def asked(server: Server) -> int:
    return len([head for head in server.requests if not head.startswith(b"GET /robots.txt")])


@pytest.mark.parametrize(("mode", "status"), [*((mode, "429 Too Many") for mode in MODES), ("thread", "503 Busy")])
def test_a_day_long_pause_is_asked_for_a_few_times_only_and_not_again_by_the_next_run(
    tmp_path: Path, mode: str, status: str
) -> None:
    with Server(refusing(status, "Retry-After: 86400")) as server:
        config = job(tmp_path, [server.url(f"/no/{number}") for number in range(60)])
        settings = (f"download.mode={mode}", "job.max_deferred_ratio=1.0")
        first = run(config, *settings)
        in_first = asked(server)
        second = run(config, *settings)

    assert (60, 0) == (first.facts["counts"]["deferred"], first.facts["counts"]["failed"])
    assert in_first <= 24  # what was under way when the first answer came
    assert ExitCode.DONE == second.exit_code
    assert in_first == asked(server)
    assert 60 == second.facts["counts"]["deferred"]
    rows = [json.loads(line) for line in (tmp_path / "out/failures.jsonl").read_text().splitlines()]
    assert {("rate", "deferred")} == {(row["code"], row["outcome"]) for row in rows}


def test_a_robots_txt_behind_a_dead_origin_defers_the_host_with_its_retry_after(tmp_path: Path) -> None:
    def dead(peer: Peer) -> None:
        while peer.read_request():
            peer.reply(b"", "503 Backend fetch failed", "Retry-After: 3600")

    with Server(dead) as server:
        config = job(tmp_path, [server.url(f"/{number}") for number in range(30)])
        facts = run(config, "job.max_deferred_ratio=1.0").facts

    assert 30 == facts["counts"]["deferred"]
    assert 0 == asked(server)
    assert "longer pause" in str(facts["hosts"]["troubled"])


def test_a_host_that_refuses_all_holds_up_no_other_wherever_it_stands_in_the_list(tmp_path: Path) -> None:
    with Server(refusing("429 Too Many", "Retry-After: 0.05")) as bad, Server(refusing("")) as good:
        urls = [bad.url(f"/no/{number}") for number in range(1100)] + [good.url(f"/{number}") for number in range(60)]
        facts = run(job(tmp_path, urls), "job.max_deferred_ratio=1.0").facts

    assert (60, 1100) == (facts["counts"]["done"], facts["counts"]["deferred"])
    assert asked(bad) <= 24


def test_files_of_certificates_are_read_before_any_work(tmp_path: Path) -> None:
    config = job(tmp_path, ["http://127.0.0.1:1/a.jpg"])
    (tmp_path / "no.pem").write_text("nothing")
    config.write_text(
        config.read_text().replace(
            "[transform]", 'ca_file = "away.pem"\n[download.hosts."a.org"]\nclient_cert = "no.pem"\n[transform]', 1
        )
    )

    with pytest.raises(UsageError) as caught:
        run(config)

    where = [problem.where for problem in caught.value.problems]
    assert ["[download] ca_file", '[download.hosts."a.org"] client_cert'] == where
    assert not (tmp_path / "out").exists()
