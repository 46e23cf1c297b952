"""A job's output folder under the hands of a test, and a page taken apart."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from batchproc.report.html import make_report

VOID = frozenset({"meta", "img", "br", "link", "input"})


class Job:
    """The files of one finished job."""

    def __init__(self, output: Path) -> None:
        self.output = output
        self.run = (output / "latest").resolve()

    @property
    def facts(self) -> dict[str, Any]:
        facts: dict[str, Any] = json.loads((self.run / "run.json").read_text())
        return facts

    def change(self, change: Callable[[dict[str, Any]], object]) -> None:
        """Edits run.json."""
        facts = self.facts
        change(facts)
        (self.run / "run.json").write_text(json.dumps(facts))

    def write_rows(self, name: str, rows: Iterable[Mapping[str, object]]) -> None:
        """Replaces `metadata.jsonl` or `failures.jsonl`; lone surrogates as the sink writes them."""
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (self.output / name).write_bytes(text.encode("utf-8", "backslashreplace"))

    def page(self) -> "Parsed":
        """The page as it is made now."""
        return parse(make_report(self.output).read_text(encoding="utf-8"))


@dataclass(slots=True)
class Element:
    """A tag with its attributes and all the text inside it."""

    tag: str
    attributes: dict[str, str]
    text: str = ""


@dataclass(slots=True)
class Parsed:
    """All elements of a page in their order, and its source."""

    source: str
    elements: list[Element] = field(default_factory=list)

    def all(self, *tags: str) -> list[Element]:
        return [element for element in self.elements if element.tag in tags]

    def by_id(self, name: str) -> Element:
        return next(element for element in self.elements if element.attributes.get("id") == name)

    @property
    def text(self) -> str:
        return next(element.text for element in self.elements if element.tag == "body")


class _Reader(HTMLParser):
    def __init__(self, page: Parsed) -> None:
        super().__init__()
        self._page = page
        self._open: list[Element] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs})
        self._page.elements.append(element)
        self.handle_data(" ")
        if tag not in VOID:
            self._open.append(element)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._page.elements.append(Element(tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        assert self._open, f"</{tag}> closes nothing"
        assert self._open[-1].tag == tag, f"</{tag}> closes <{self._open[-1].tag}>"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data


def parse(source: str) -> Parsed:
    """Takes a page apart; fails when its tags do not nest."""
    page = Parsed(source)
    reader = _Reader(page)
    reader.feed(source)
    reader.close()
    assert not reader._open
    return page
