"""A small job on disk for the ledger's tests: a real list, real files, a real database."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from batchproc.errors import Retry
from batchproc.ledger import Ledger
from batchproc.model import Disposition, Failure, Item, ListedItem, Outcome, OutputImage, Rejection, Reply, Source
from batchproc.remembered import Block
from batchproc.sink import ImageFolder, Layout, write_manifest

PLAN = "plan-one"
NOW = datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC)


def hash_key(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


def listed(url: str, line: int = 1, **facts: str) -> ListedItem:
    return ListedItem(key=hash_key(url), line=line, url=url, **facts)


def urls(count: int) -> list[str]:
    return [f"https://example.org/{number:04d}.jpg" for number in range(count)]


def listing(names: Iterable[str]) -> list[ListedItem]:
    return [listed(url, line) for line, url in enumerate(names, start=1)]


@dataclass
class Job:
    """One output folder. Each `open` is what one start of the program does."""

    output: Path
    power: bool = False
    layout: Layout = field(init=False)
    images: ImageFolder = field(init=False)

    def __post_init__(self) -> None:
        self.layout = Layout(output=self.output)
        self.layout.prepare()
        self.images = ImageFolder(self.output, power=self.power)

    def open(self) -> AbstractContextManager[Ledger]:
        layout = self.layout
        return Ledger.open(
            layout.ledger_path, images=self.images, reserve_path=layout.reserve_path, power=self.power
        )

    def begin(
        self, ledger: Ledger, names: Sequence[str] = (), plan: str = PLAN, *, rows: Sequence[ListedItem] = (),
        recipe: str = "",
    ) -> None:
        """`names` are the URLs of a list without ids, `rows` are a list with them."""
        ledger.recover()
        ledger.adopt_plan(plan, recipe=recipe)
        if names or rows:
            ledger.import_sources(rows or listing(names), keyed_by_id=bool(rows))
        ledger.begin_run("20261122T081530Z", NOW)

    def end(self, ledger: Ledger) -> None:
        ledger.finish_recording()
        ledger.note_manifests(self.write_manifests(ledger))
        ledger.end_run(ended=NOW, exit_code=0)

    def write_manifests(self, ledger: Ledger) -> dict[str, list[Block]]:
        metadata = write_manifest(self.layout.metadata_path, ledger.metadata(self.images.file_name, ledger.columns()))
        failures = write_manifest(self.layout.failures_path, ledger.failures())
        return {"metadata": metadata.blocks, "failures": failures.blocks}

    def rendition(self, source: Source, *, suffix: str = ".jpg", text: str = "") -> Item[OutputImage]:
        """Writes the temporary file, as a worker does, and returns the outcome that tells of it."""
        content = (text or source.url).encode() * 3
        path = self.layout.temporary_folder / f"{source.key_hex}.1.0.part"
        path.write_bytes(content)
        return Item(source=source, value=describe(path, content, suffix, source.url))

    def outcome(self, source: Source) -> Outcome:
        """What becomes of this source, by its number: every sixth fails, every seventh is rejected. Of URLs that have
        changed also every eleventh fails, every thirteenth is rejected."""
        number, has_changed = source.index, source.url.endswith("v=1")
        if number % 6 == 5 or (has_changed and number % 11 == 7):
            return failure(source, retry=Retry.NEVER)
        if number % 7 == 6 or (has_changed and number % 13 == 9):
            return rejection(source)
        return self.rendition(source)

    def run_to_the_end(self, names: Sequence[str] = (), *, rows: Sequence[ListedItem] = ()) -> None:
        with self.open() as ledger:
            self.begin(ledger, names, rows=rows)
            for source in ledger.work():
                ledger.record(self.outcome(source))
            self.end(ledger)

    def image_files(self) -> dict[str, bytes]:
        folder = self.layout.images_folder
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    def temporary_files(self) -> list[str]:
        return sorted(self.images.temporary_names())

    def result(self) -> tuple[dict[str, bytes], bytes, bytes]:
        """All that a user gets: images and manifests."""
        return self.image_files(), self.layout.metadata_path.read_bytes(), self.layout.failures_path.read_bytes()


def describe(path: Path, content: bytes, suffix: str, url: str) -> OutputImage:
    return OutputImage(
        temporary_path=str(path),
        suffix=suffix,
        size_bytes=len(content),
        sha256=hashlib.sha256(content).hexdigest(),
        format="JPEG",
        mode="RGB",
        width_px=256,
        height_px=192,
        original_width_px=2048,
        original_height_px=1536,
        original_format="JPEG",
        original_size_bytes=155_000,
        source_sha256=hashlib.sha256(url.encode()).hexdigest(),
        reply=Reply(
            status_code=200, etag=etag_of(url), last_modified="Wed, 21 Oct 2015 07:28:00 GMT", final_url=url
        ),
        notes=("icc profile dropped: corrupt", "eXIf ignored"),
    )


def etag_of(url: str) -> str:
    return f'"{hash_key(url).hex()}"'


def identified(urls: Mapping[int, str]) -> list[ListedItem]:
    """A list keyed by ids: a line each, whose column names its URL."""
    return [
        ListedItem(key=hash_key(f"id-{number}"), line=line, url=url, extra_json=json.dumps({"caption": f"of {url}"}))
        for line, (number, url) in enumerate(urls.items(), start=1)
    ]


def versions(count: int, version: int) -> list[ListedItem]:
    """A list keyed by ids; in version 1, every other URL is another one."""
    return identified({n: f"https://example.org/{n}.jpg?v={version * (n % 2)}" for n in range(count)})


def failure(
    source: Source,
    *,
    code: str = "http.404",
    retry: Retry = Retry.NEVER,
    disposition: Disposition = Disposition.FAILED,
    stage: str = "download",
    message: str = "404 Not Found",
) -> Failure:
    return Failure(
        source=source, stage=stage, code=code, message=message, hint="look at the URL", retry=retry,
        disposition=disposition, attempts=2,
    )  # fmt: skip


def rejection(source: Source) -> Rejection:
    return Rejection(source=source, stage="transform", code="check.min_size", message="32 x 32 px is too small")
