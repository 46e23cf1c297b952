"""A job over several lists: its places, its columns, and nights that bring one list more."""

import json
from pathlib import Path

from tests.jobs import MakeJob
from tests.web_list import WebServer, address, web

from .test_events import events
from .test_modes import run

__all__ = ["web"]

CONFIG = """
[job.columns]
caption = "TEXT"
drop = ["secret"]
"""


def test_a_list_at_an_address_is_copied_into_the_jobs_folder(make_job: MakeJob, tmp_path: Path, web: WebServer) -> None:
    config = make_job(images=1)
    web.content = (tmp_path / "list.txt").read_bytes() + b"no URL\n"
    config.write_text(config.read_text().replace('"list.txt"', f'["{address(web)}"]'))

    assert 2 == run(config).facts["counts"]["items"]
    assert 0 == run(config).facts["counts"]["processed"]
    assert [200, 304] == web.replies
    assert web.content == next((tmp_path / "out" / "lists").glob("*/new.txt")).read_bytes()


def rows(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_several_lists_make_one_job_and_a_new_one_alone_is_read(make_job: MakeJob, tmp_path: Path) -> None:
    config = make_job(images=3)
    first, second, third = (tmp_path / "list.txt").read_text().split()
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "1.csv").write_text(f"url,TEXT,secret\n{first},one,x\n,no URL,x\n")
    (tmp_path / "lists" / "2.jsonl").write_text(json.dumps({"url": second, "TEXT": "two"}) + "\n/no json\n")
    config.write_text(
        config.read_text()
        .replace('"list.txt"', '["lists/*.csv", "lists/*.jsonl"]')
        .replace("[download]", f"{CONFIG}[download]")
    )

    assert 4 == run(config).facts["counts"]["processed"] + 2
    out = tmp_path / "out"
    assert ["one", "two"] == [row["caption"] for row in rows(out / "metadata.jsonl")]
    assert [("1.csv", 3), ("2.jsonl", 2)] == [(row["list"], row["line"]) for row in rows(out / "failures.jsonl")]

    (tmp_path / "lists" / "3.jsonl").write_text(json.dumps({"url": third, "TEXT": "three"}) + "\n")
    assert 1 == run(config).facts["counts"]["processed"]
    imported = events(out)["list.imported"]
    assert (1, 4) == (imported["new"], imported["known"])
    assert ["one", "two", "three"] == [row["caption"] for row in rows(out / "metadata.jsonl")]
