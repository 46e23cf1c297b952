"""`batchproc help`: the pages of `docs/`, whole or the one entry that was asked for."""

import re
import sys
from collections.abc import Iterator, Mapping
from itertools import groupby
from typing import Annotated

import typer

from batchproc.errors import UsageError


def _pages() -> dict[str, str]:
    """The text of each page by its name."""
    from importlib.resources import files

    pages = (page for page in (files("batchproc") / "docs").iterdir() if page.name.endswith(".md"))
    return {page.name.removesuffix(".md"): page.read_text("utf-8") for page in pages}


PLACES_SHOWN = 20

Topic = Annotated[
    str,
    typer.Argument(
        metavar="[TOPIC]",
        help="a page, config key, failure code, exit code or step",
        autocompletion=lambda: [*_pages()],
    ),
]


def help(topic: Topic = "") -> None:
    """Show a page of the documentation, or one entry of it.

    An entry is that of a config key, a failure code, an exit code, a step or a command.

    Example: batchproc help nightly, or batchproc help http.404
    """
    pages = _pages()
    if not topic or topic in pages:
        _show(pages[topic]) if topic else print(_contents(pages))
        return
    entries, places = [*_entries(pages, topic)], [*_places(pages, topic)]
    if entries:
        _show("\n\n".join(entries))
    if any(f"`{topic}`" in entry for entry in entries):
        return
    if not entries and not places:
        from difflib import get_close_matches

        near = get_close_matches(topic, [*pages, *_known(pages)], n=1)
        meant = f"; did you mean {near[0]}?" if near else "."
        raise UsageError(f"{topic}: no page, key, code or step of that name{meant} batchproc help lists the pages")
    if places:  # of an entry at most the end of its name was given: something else may have been meant
        print(f"\n{topic} is told of in" if entries else f"{topic}: no entry of that name; it is told of in")
        print("\n".join(f"  batchproc help {name:18}{heading}" for name, heading in places[:PLACES_SHOWN]))


def _places(pages: Mapping[str, str], words: str) -> Iterator[tuple[str, str]]:
    """The sections that have all of these words, as page and heading; first those that have them in the heading."""
    wanted = [re.compile(rf"(?i)\b{re.escape(word)}\b") for word in words.split()]
    inside: list[tuple[str, str]] = []
    for name, text in sorted(pages.items()):
        for section in re.split("^(?=## )", text, flags=re.MULTILINE):
            heading = section.partition("\n")[0].lstrip("# ").replace("`", "")
            if wanted and all(word.search(heading) for word in wanted):
                yield name, heading
            elif wanted and all(word.search(section) for word in wanted):
                inside.append((name, heading))
    yield from inside


def _contents(pages: Mapping[str, str]) -> str:
    titles = {name: text.partition("\n")[0].removeprefix("# ") for name, text in sorted(pages.items())}
    rows = [f"  {name:18}{title}" for name, title in titles.items()]
    return "\n".join(["batchproc help TOPIC shows one of", *rows, "or what they say of a key, a code or a step."])


def _show(text: str) -> None:
    """As it is, or set by rich on a terminal."""
    if not sys.stdout.isatty():
        print(text.rstrip())
        return
    from rich.console import Console
    from rich.markdown import Markdown

    console = Console()
    console.print(Markdown(_narrowed(text, console.width), hyperlinks=False))


def _narrowed(text: str, width: int) -> str:
    """The page with each table that is wider than the terminal as a list: rich would cut its names off."""
    lines: list[str] = []
    for is_table, block in groupby(text.splitlines(), lambda line: line.startswith("|")):
        rows = [*block]
        if not is_table or max(map(len, rows)) <= width:
            lines += rows
            continue
        headings, _, *entries = map(_cells, rows)
        for first, *cells in entries:
            told = [f"*{heading}*: {cell}" for heading, cell in zip(headings[2:], cells[1:], strict=False) if cell]
            lines.append(f"- {first}: " + "; ".join([*cells[:1], *told]))
    return "\n".join(lines)


def _cells(row: str) -> list[str]:
    return [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", row.strip("|"))]


def _entries(pages: Mapping[str, str], topic: str) -> Iterator[str]:
    """Rows of tables that begin with `topic` and sections headed by it; without any, the row of its family."""
    rows = [row for text in pages.values() for row in _rows(text)]
    found = [row for name, row in rows if name == topic or name.endswith(f".{topic}")]
    yield from found
    sections = [section for text in pages.values() for name, section in _sections(text) if name == topic]
    yield from sections
    if not found and not sections:
        from fnmatch import fnmatch

        yield from [row for name, row in rows if "*" in name and fnmatch(topic, name)][:1]


def _known(pages: Mapping[str, str]) -> Iterator[str]:
    for text in pages.values():
        for name, _ in (*_rows(text), *_sections(text)):
            yield from (name, name.rpartition(".")[2])


def _rows(text: str) -> Iterator[tuple[str, str]]:
    """Every row of the page's tables whose first cell is `code`: that name, and all cells with their headings."""
    headings: list[str] = []
    for line in text.splitlines():
        if not line.startswith("|"):
            headings = []
            continue
        cells = _cells(line)
        headings = headings or cells
        for name in re.findall("`([^`]+)`", cells[0]) if re.fullmatch("(`[^`]+`(, )?)+", cells[0]) else ():
            facts = [f"- {heading}: {cell}" for heading, cell in zip(headings[1:], cells[1:], strict=False) if cell]
            yield name, "\n".join([f"`{name}`", "", *facts])


def _sections(text: str) -> Iterator[tuple[str, str]]:
    """Every section of the page by its heading, without backticks."""
    for section in re.split("^(?=## )", text, flags=re.MULTILINE)[1:]:
        yield section.partition("\n")[0].removeprefix("## ").replace("`", ""), section
