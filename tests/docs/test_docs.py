"""README and docs say nothing that the program does not know: commands, flags, keys, links and made pages."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer.main
from PIL import Image, ImageChops, ImageStat

from batchproc.cli.app import app
from batchproc.config import load, tables
from batchproc.kinds import TABLE
from batchproc.transform.plan import BUILT_IN, build_steps, built_in
from batchproc.transform.steps.step import keys_of
from tests.docs import pictures, reference
from tests.test_layers import FLOOR_OF

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")])
KEYS = {
    "job": tables.JobTable,
    "download": tables.DownloadTable,
    "transform": tables.TransformTable,
    "output": tables.OutputTable,
    "report": tables.ReportTable,
    "metrics": tables.MetricsTable,
    "origin": tables.OriginTable,
    "bench": tables.BenchTable,
    "cluster": tables.ClusterTable,
}
NO_KEYS = {*TABLE, "job.toml", "bench.json"}  # codes and files that are written like keys
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@pytest.mark.parametrize("name", reference.pages())
def test_made_pages_are_up_to_date(name: str) -> None:
    made = reference.pages()[name]

    assert made == (ROOT / "docs" / name).read_text(), "run: python -m tests.docs.reference"


def test_the_kept_help_is_up_to_date() -> None:
    assert reference.help_text() == reference.HELP.read_text(), "run: python -m tests.docs.reference"


@each_page
def test_every_command_in_the_text_exists_with_its_flags(page: Path) -> None:
    wrong = [line for line in _command_lines(page.read_text()) if not _is_command(line)]

    assert [] == wrong


@each_page
def test_every_config_in_the_text_is_accepted(page: Path, tmp_path: Path) -> None:
    for block in re.findall(r"^```toml\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
        if block.startswith("[project"):  # of a pyproject.toml
            continue
        config = tmp_path / "job.toml"
        config.write_text(_whole(block))

        steps = load(config, environ={}).transform.steps

        own = [step for step in steps if step["op"] in BUILT_IN]
        assert len(own) == len(build_steps(own))


@each_page
def test_every_key_in_the_text_exists(page: Path) -> None:
    spans = re.findall(r"`([^`\n]+)`", page.read_text())
    names = "|".join(KEYS)
    written = [found for span in spans for found in re.findall(rf"^\[({names})\] ([a-z_]+)", span)]
    dotted = [found for span in spans for found in re.findall(rf"^({names})\.([a-z_]+)$", span) if span not in NO_KEYS]

    assert [] == [f"{table}.{key}" for table, key in (*written, *dotted) if not _is_key(f"{table}.{key}")]


@each_page
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name) if name else page

        assert target.exists(), link
        assert not anchor or anchor in _anchors(target.read_text()), link


def test_every_page_is_linked_from_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()

    assert [] == [page.name for page in PAGES if page.parent != ROOT and f"docs/{page.name}" not in readme]


def test_the_map_of_the_packages_is_that_of_the_layers() -> None:
    text = (ROOT / "docs/how-it-works.md").read_text()
    lines = [line[:47].split() for line in text.partition("```text\n")[2].partition("```")[0].splitlines()]
    named = [name for line in lines for name in line]

    assert sorted(FLOOR_OF) == sorted(named)
    assert [FLOOR_OF[name] for name in named] == sorted(FLOOR_OF[name] for name in named)


def test_every_module_that_how_it_works_names_exists() -> None:
    text = (ROOT / "docs/how-it-works.md").read_text()
    named = re.findall(r"`([a-z_]+/[a-z_/]*(?:\.py)?)`", text)

    assert len(named) > 25
    assert [] == [name for name in named if not (ROOT / "batchproc" / name).exists() and not (ROOT / name).exists()]


def test_every_dependency_has_its_reason() -> None:
    text = (ROOT / "docs/how-it-works.md").read_text()
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [
        project["optional-dependencies"][name]
        for name in project["optional-dependencies"]
        if name not in ("test", "dev")
    ]
    wanted = [*project["dependencies"], *(one for extra in extras for one in extra)]

    assert [] == [name for one in wanted if f"`{(name := re.split('[^a-z0-9-]', one)[0])}`" not in text]


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) < 130


def _command_lines(text: str) -> Iterator[str]:
    """Every `batchproc ...` that stands in code: inline, or as a line of a block."""
    blocks = re.sub(r"^```(?!toml|python|ini|yaml|crontab)\w*\n(.*?)^```", r"\1", text, flags=re.MULTILINE | re.DOTALL)
    for line in blocks.splitlines():
        found = re.match(r"(?:    |\$ )?(?:\S*/)?(batchproc .*)", line)
        if found and (line.startswith(("    ", "$ ")) or "`" not in line):
            yield found[1]
    yield from (found for found in re.findall(r"`(batchproc [^`]+)`", text) if "(" not in found)
    yield from re.findall(r"^(?:.*/)?(batchproc (?:run|bench|status) .*)$", text, re.MULTILINE)


def _is_command(line: str) -> bool:
    """Whether the command and all its flags exist, and all keys that `--set` names."""
    words = shlex.split(line, comments=True)
    for index, word in enumerate(words):
        if word in ("&&", "|", ";", ">", "2>", "·"):
            words = words[:index]
            break
    if len(words) < 2 or words[1] in ("COMMAND", "--version", "--help", "--show-completion", "--install-completion"):
        return True
    command = COMMANDS.get(words[1])
    if command is None:
        return False
    flags = {flag for parameter in command.params for flag in (*parameter.opts, *parameter.secondary_opts)}
    used = {word.partition("=")[0] for word in words[2:] if word.startswith("-") and word != "-" and " " not in word}
    keys = [key for key in re.findall(r"--set[= ]([\w.]+)=", " ".join(words)) if key != "KEY"]
    return used <= {*flags, "--help", "-h"} and all(_is_key(key) for key in keys)


def _is_key(key: str) -> bool:
    table, _, name = key.partition(".")
    return table in KEYS and name.partition(".")[0] in KEYS[table].model_fields


def _whole(block: str) -> str:
    """The block with what it leaves out of what is required."""
    written = tomllib.loads(block)
    required = {"name": "a", "input": "a.txt", "output": "out"}
    missing = {key: value for key, value in required.items() if key not in written.get("job", {})}
    lines = "\n".join(f'{key} = "{value}"' for key, value in missing.items())
    if "[job]" in block:
        return block.replace("[job]", f"[job]\n{lines}", 1)
    return f"{block}\n[job]\n{lines}\n" if not re.match(r"[a-z_]+ *=", block) else block


def _anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_host_keys_are_those_of_the_made_page() -> None:
    page = (ROOT / "docs/config.md").read_text()

    assert [] == [key for key in tables.HostTable.model_fields if f"`download.hosts.NAME.{key}`" not in page]


MOST_PICTURE_BYTES = 40_000
DRAWN = pictures.sheets()


@pytest.mark.parametrize("name", DRAWN)
def test_the_pictures_show_what_the_steps_do(name: str) -> None:
    with Image.open(ROOT / "docs" / name) as shown:
        difference = ImageStat.Stat(ImageChops.difference(shown.convert("RGB"), DRAWN[name].convert("RGB")))

    assert max(difference.mean) < 1, "run: python -m tests.docs.pictures"  # fonts and resamplers differ by little


def test_the_pictures_of_the_docs_are_small() -> None:
    assert sum(path.stat().st_size for path in (ROOT / "docs").glob("*.png")) < MOST_PICTURE_BYTES


def test_every_way_to_resize_is_explained() -> None:
    (how,) = (key for key in keys_of(built_in("resize")) if key.name == "how")

    assert how.kind.allowed.removeprefix("one of ").split(", ") == list(pictures.MEANINGS)
