"""Secrets, wherever a user can put them, stand in nothing that a run writes but the URLs that it keeps as data."""

import json
import re
from pathlib import Path

import pytest

from batchproc.origin import EmbeddedOrigin
from tests.jobs import CONFIG

from .site import Site
from .test_hard_input import command

URL_DATA = {"batchproc.db", "batchproc.db-wal", "metadata.jsonl", "failures.jsonl"}
TABLES = """
[download.headers]
Authorization = "Bearer HIDDEN00"
X-Odd = "HIDDEN01"

[download.hosts."127.0.0.1"]
headers = {{ Cookie = "session=HIDDEN02", X-Other = "HIDDEN03" }}

[download.hosts."proxied.test"]
headers = {{ X-Api-Key = "HIDDEN04" }}
proxy = "http://HIDDEN05:HIDDEN06@127.0.0.1:{site}"

[metrics]
textfile = "metrics.prom"
ping_url = "http://HIDDEN07:HIDDEN08@127.0.0.1:{site}/HIDDEN09"

[report]
html = true
trace = true
gallery = 4
"""


def urls(host: str, good: list[str]) -> list[str]:
    """All places of a URL that can hold a secret, in URLs of every end."""
    nested = "https%3A%2F%2FPLANT02%3APLANT03%40cdn.test%2Fa%3Fsig%3DPLANT04"
    return [
        f"http://PLANT00:PLANT01@{host}{good[0]}",
        f"http://{host}{good[1]}?u={nested}&w=100",
        f"{good[2]}?signature=PLANT05&PLANT06",
        f"{good[3]}?PLANT07#PLANT08",
        f"http://{host}/no/such.jpg;jsessionid=PLANT09?token=PLANT10#key=PLANT11",
        f"/no/such/{nested}/b.jpg?X-Amz-Credential=PLANT12%2F2026",
        "/no/token=PLANT13/c.jpg;PLANT14?PLANT15==",
        f"http://{host}/no/https://PLANT16:PLANT17@cdn.test/a.jpg?&code=PLANT18;pin=PLANT19",
        "http://PLANT20:PLANT21@[broken/a.jpg?sig=PLANT22",
        "ftp://PLANT23:PLANT24@h.test/a.jpg",
        "http://user:PLANT25#PLANT26@h.test/a.jpg",
        "http://proxied.test/a.jpg?auth=PLANT28",
        "http://user:PLANT27 PLANT29@h.test/a.jpg",
    ]


@pytest.mark.parametrize(
    "modes", [("thread", "process"), pytest.param(("process", "thread"), marks=pytest.mark.slow)], ids="-".join
)
def test_no_secret_is_told_by_anything_but_the_urls_that_are_kept(
    tmp_path: Path, origin: EmbeddedOrigin, site: Site, modes: tuple[str, str]
) -> None:
    good = [entry.path for entry in origin.listing() if entry.fault is None]
    (tmp_path / "list.txt").write_text("\n".join(urls(origin.base_url.split("/")[2], good)) + "\n")
    text = CONFIG.format(base_url=origin.base_url, transform="").replace("[report]\nhtml = false\n", "")
    config = tmp_path / "job.toml"
    config.write_text(text + TABLES.format(site=site.server_port))
    config.chmod(0o600)
    flags = ("--download-mode", modes[0], "--transform-mode", modes[1], "--set", "download.retries=0", "--trace")

    commands = [
        ("check", str(config)), ("run", str(config), "-v", *flags), ("status", str(config), "--json"),
        ("run", str(config), "--quiet", "--retry-failed", "--set", "job.max_failed_ratio=0", *flags),
        ("report", str(tmp_path / "out")),
    ]  # fmt: skip
    told = {f"{name} of {' '.join(one)}": stream.encode() for one in commands for name, stream in streams(*one)}
    told |= {str(path.relative_to(tmp_path)): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    counts = json.loads((tmp_path / "out/latest/run.json").read_text())["counts"]
    assert 4 == counts["done"]
    assert {f"/HIDDEN09{end}" for end in ("/start", "", "/3")} <= {path for path, _ in site.answered}
    written = {name: content for name, content in told.items() if name not in ("list.txt", "job.toml")}
    files = {"report.html", "run.json", "log.jsonl", "trace.json", "metrics.prom"}
    assert files <= {Path(name).name for name in written}
    assert {} == leaks(written)
    for name in ("failures.jsonl", "metadata.jsonl"):
        assert "PLANT" not in without_urls(tmp_path / "out" / name)


def streams(*words: str) -> list[tuple[str, str]]:
    done = command(*words)
    assert "Traceback" not in done.stderr
    return [("stdout", done.stdout), ("stderr", done.stderr)]


def leaks(written: dict[str, bytes]) -> dict[str, list[str]]:
    """What stands where it must not, by file or stream."""
    found = {}
    for name, content in written.items():
        pattern = rb"HIDDEN\d\d" if Path(name).name in URL_DATA else rb"(?:HIDDEN|PLANT)\d\d"
        if secrets := sorted({secret.decode() for secret in re.findall(pattern, content)}):
            found[name] = secrets
    return found


def without_urls(path: Path) -> str:
    """The rows of a manifest but for the URLs in them."""
    rows = (json.loads(line) for line in path.read_text().splitlines())
    return json.dumps([row | {"url": "", "final_url": ""} for row in rows])
