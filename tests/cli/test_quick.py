"""The commands that need no config: what they write, run and show."""

import json
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
from PIL import Image

from batchproc.cli import main
from batchproc.config import load
from batchproc.origin.site import demo_list
from tests.pipeline.site import Site, picture, serving


class Done(NamedTuple):
    """What a command left."""

    returncode: int
    stdout: str
    stderr: str


Call: TypeAlias = Callable[..., Done]
ALLOWED = ("--set", 'download.allow_addresses=["127.0.0.0/8"]', "--set", "report.html=false")


@pytest.fixture
def site():
    with serving(Site()) as server:
        server.pictures["/a.png"] = picture("blue", 300)
        yield server


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Call:
    """Runs a command line in this process, with `tmp_path` as the working directory."""
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["batchproc", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capsys.readouterr()
        return Done(int(ended.value.code or 0), captured.out, captured.err)

    return run


def names(folder: Path) -> list[str]:
    rows = [json.loads(line) for line in (folder / "metadata.jsonl").read_text().splitlines()]
    return [row["url"].rpartition("/")[2] for row in rows]


def test_get_downloads_and_leaves_the_config_that_it_used(call: Call, site: Site, tmp_path: Path) -> None:
    done = call("get", f"{site.url}a.png", "-o", "got", "--resize", "64", *ALLOWED)

    assert (0, "running got/job.toml") == (done.returncode, done.stderr[: len("running got/job.toml")])
    assert ["a.png"] == names(tmp_path / "got")
    (image,) = (tmp_path / "got/images").rglob("*.jpg")
    with Image.open(image) as made:
        assert (64, 64) == made.size
    assert [{"op": "resize", "size": [64, 64], "how": "contain", "only_shrink": True}] == tomllib.loads(
        (tmp_path / "got/job.toml").read_text()
    )["transform"]["steps"]


def test_more_urls_and_lists_go_into_the_same_folder(call: Call, site: Site, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text(f"url\n{site.url}c.png\n")
    for source in ("a.png", "b.png"):
        call("get", f"{site.url}{source}", "-o", "got", *ALLOWED)
    assert ["a.png", "b.png"] == names(tmp_path / "got")

    done = call("get", "list.csv", "-o", "other", *ALLOWED)

    assert 0 == done.returncode
    assert ["c.png"] == names(tmp_path / "other")


def test_get_does_not_write_over_another_job(call: Call, site: Site, tmp_path: Path) -> None:
    (tmp_path / "got").mkdir()
    (tmp_path / "got/job.toml").write_text("[job]\n")

    done = call("get", f"{site.url}a.png", "-o", "got")

    assert 2 == done.returncode
    assert "`batchproc run got/job.toml` goes on with it" in done.stderr
    assert "[job]\n" == (tmp_path / "got/job.toml").read_text()


def test_the_demo_needs_nothing_but_a_folder(call: Call, tmp_path: Path) -> None:
    """Its config is a good one, and its list is the embedded server's; `run` has tests of its own."""
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo/job.toml").write_text("[job]\n")

    assert 2 == call("demo", "demo").returncode
    template = Path(__file__).parents[2] / "batchproc/templates/demo.toml"
    config = load(template, environ={})
    assert config.origin is not None
    assert demo_list(images=240) == demo_list(config.origin.images, config.origin.seed)


def test_try_shows_both_sides_and_what_each_step_took(call: Call, tmp_path: Path) -> None:
    (tmp_path / "photo.png").write_bytes(picture("red", 100))

    done = call("try", "resize size=[40,40]", "grayscale", "photo.png")

    assert 0 == done.returncode, done.stderr
    first, *parts, last, both = done.stdout.splitlines()
    assert first.startswith("before  100 x 100 px, PNG, ")
    assert ["decode", "steps.resize", "steps.grayscale", "encode", "write"] == [part.split()[0] for part in parts]
    assert last.startswith("after   40 x 40 px, PNG, ")
    assert "both    tried.png" == both
    with Image.open(tmp_path / "tried.png") as shown:
        assert ((148, 100), (255, 0, 0), (76, 76, 76)) == (
            shown.size, shown.getpixel((50, 50)), shown.getpixel((120, 20)),
        )  # fmt: skip


@pytest.mark.parametrize(
    ("code", "says", "arguments"),
    [
        (2, 'did you mean "resize"', ("resise", "photo.png")),
        (2, "no such file", ("no.png",)),
        (1, "check.min_size: 100 x 100 px is smaller", ("min_size width=200", "photo.png")),
        (1, "not_image: ", ("text.png",)),
    ],
    ids=["step", "file", "rejected", "no image"],
)
def test_what_cannot_be_tried_is_told(
    call: Call, tmp_path: Path, code: int, says: str, arguments: tuple[str, ...]
) -> None:
    (tmp_path / "photo.png").write_bytes(picture("red", 100))
    (tmp_path / "text.png").write_bytes(b"no image at all")

    done = call("try", *arguments)

    assert code == done.returncode
    assert says.lower() in done.stderr.lower()
    assert not (tmp_path / "tried.png").exists()


def test_get_takes_images_of_this_machine(call: Call, tmp_path: Path) -> None:
    Image.new("RGB", (200, 100), "red").save(tmp_path / "a.jpg")

    done = call("get", "a.jpg", "-o", "out", "--resize", "50", "--set", "report.html=false")

    assert (0, ["a.jpg"]) == (done.returncode, names(tmp_path / "out"))


def test_get_refuses_images_beside_urls_before_it_writes(call: Call, tmp_path: Path) -> None:
    Image.new("RGB", (20, 10), "red").save(tmp_path / "a.jpg")

    done = call("get", "a.jpg", "https://example.org/b.jpg", "-o", "out")

    assert 2 == done.returncode
    assert "images of this machine and URLs (https://example.org/b.jpg) make two jobs" in done.stderr
    assert not (tmp_path / "out").exists()
