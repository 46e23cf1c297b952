"""The list of a job: one file, several, or stdin, as the config names it, and how the ledger takes it."""

import hashlib
import json
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from msgspec import Struct

from batchproc.columns import Columns
from batchproc.config import STDIN, Config, is_remote
from batchproc.errors import Code, Problem, UsageError
from batchproc.ledger import input_fingerprint
from batchproc.model import ListedItem
from batchproc.remembered import Checkpoint, Known, ListMemory
from batchproc.sink.splits import SplitCheck
from batchproc.sources import Entry, ListFormat, find_sources, is_stream, list_images, read_sources
from batchproc.sources.finding import fetch_list, file_url, folder_of, may_mean_images
from batchproc.version import VERSION


class JobList(Struct, frozen=True, kw_only=True):
    """The files of a list, found once, so that all that is done with it is done with the same ones."""

    paths: tuple[str, ...]  # absolute; "-" is stdin
    format: ListFormat
    duplicates: str
    images: tuple[str, ...] = ()  # absolute; in place of lists
    root: Path = Path("/")  # images below it are known by their paths from there
    split_column: str = ""  # has to name a split in each row; empty = none

    @classmethod
    def of(cls, config: Config, base_url: str, *, keep: bool = False) -> Self:
        """The list that the config names. Raises `UsageError` where a pattern or a folder names none.

        Of a list at an address there is a copy, in the job's folder where that may be touched (`keep`).
        """
        job = config.job
        copies = config.paths.output / "lists"
        if not keep and any(map(is_remote, config.paths.inputs)):
            copies = Path(_other_copies().name)
        local = [str(fetch_list(name, copies)) if is_remote(name) else name for name in config.paths.inputs]
        format = ListFormat(
            url_column=job.url_column,
            id_column=job.id_column,
            delimiter=job.delimiter,
            quoting=job.quoting,
            base_url=base_url or _local_base(config),
            local=job.allow_local,
            renamed=job.renamed_columns,
            dropped=job.dropped_columns,
        )
        found, root = find_sources(local), config.paths.root
        splits = config.output.splits
        return cls(
            paths=found.lists, format=format, duplicates=job.duplicates, images=found.images, root=root,
            split_column=splits if isinstance(splits, str) else "",
        )  # fmt: skip

    @property
    def is_stream(self) -> bool:
        """Whether it can be read only once: stdin and pipes."""
        return any(map(is_stream, self.paths))

    @property
    def names(self) -> tuple[str, ...]:
        """What tells its files apart in messages; empty for a single one."""
        if len(self.paths) == 1:
            return ()
        last = [Path(path).name for path in self.paths]
        return tuple(last) if len(set(last)) == len(last) else self.paths

    def check(self) -> None:
        """Reads the first entry, so that a bad list is known before anything is touched. Raises `UsageError`.

        Stdin and pipes can be read only once: they are checked when they are imported.
        """
        if STDIN in self.paths and sys.stdin is None:
            message = "stdin is closed, and the list is to be read from it."
            raise UsageError([Problem(where="[job] input", message=message)])
        if not self.is_stream:
            for path in self.paths:
                read_sources(path, self.format)

    def entries(self, columns: Columns | None = None, memory: ListMemory | None = None) -> Iterator[Entry]:
        """The list as the config says to read it; `columns` learns of it. Raises `UsageError`."""
        if self.images:
            return list_images(self.images, self.root)
        return read_sources(self.paths, self.format, columns=columns, memory=memory)

    def items(self, columns: Columns | None = None) -> Iterator[ListedItem]:
        """The list as the ledger takes it. Opened at the first item. Raises `UsageError`."""
        return (row for row in self.rows(columns, None) if isinstance(row, ListedItem))

    def rows(
        self, columns: Columns | None, memory: ListMemory | None = None
    ) -> Iterator[ListedItem | Known | Checkpoint]:
        """The same, without the beginning that is as it was by what is remembered, with the checkpoints of the rest."""
        entries = self.entries(columns, memory)
        return _check_splits(entries, self.split_column) if self.split_column else entries

    def fingerprint(self) -> str:
        """What tells this list from another; empty for stdin and pipes."""
        if self.is_stream:
            return ""
        prints = self._fingerprints() if self.paths else (*self.images, str(self.root), *self._settings)
        return prints[0] if len(prints) == 1 else hashlib.sha256("\n".join(prints).encode()).hexdigest()

    def memory(self, checkpoints: tuple[Checkpoint, ...]) -> ListMemory | None:
        """What is remembered of this list, if it is read as it was then; None for stdin, pipes and images."""
        if self.is_stream or not self.paths:
            return None
        kinds = sorted({Path(path.lower().removesuffix(".gz")).suffix for path in self.paths})
        rule = json.dumps([VERSION, *kinds, *self._settings])
        several = self._fingerprints() if len(self.paths) > 1 else ()
        return ListMemory(rule=rule, checkpoints=checkpoints, files=several)

    def _fingerprints(self) -> tuple[str, ...]:
        return tuple(input_fingerprint(Path(path), *self._settings) for path in self.paths)

    @property
    def _settings(self) -> tuple[str, ...]:
        """The settings that decide what is read of it."""
        how = self.format
        columns = json.dumps([sorted(how.renamed.items()), sorted(how.dropped)]) if how.renamed or how.dropped else ""
        settings = how.url_column, how.id_column, how.delimiter, how.quoting, self.duplicates, how.base_url
        split = f"split {self.split_column}" if self.split_column else ""
        more = (*filter(None, [columns, split]), *(["local"] if how.local else []))
        return (*settings, *more)


def _check_splits(entries: Iterator[Entry], column: str) -> Iterator[Entry]:
    check = SplitCheck(column)
    for entry in entries:
        if isinstance(entry, ListedItem) and not entry.code and (fault := check.find_fault(entry.extra_json)):
            yield entry._replace(code=Code.INPUT_SPLIT, message=fault)
        else:
            yield entry


def _local_base(config: Config) -> str:
    """What relative URLs are joined with where they are files. Raises `UsageError` where their folder is missing."""
    if not config.job.allow_local:
        return ""
    folder = Path(config.paths.at_root(config.job.local_root))
    if not folder.is_dir():  # perhaps its disk is not mounted: no reason to take every file for missing
        where = f'[job] local_root = "{config.job.local_root}"'
        raise UsageError([Problem(where=where, message=f"is no folder: {folder}.")])
    return file_url(folder)


def local_roots(config: Config) -> tuple[str, ...]:
    """The folders that files may be read from: the one that the config names, and those of its images."""
    named = [config.paths.at_root(config.job.local_root)] if config.job.allow_local else []
    return tuple(dict.fromkeys(named + [folder_of(name) for name in config.paths.inputs if may_mean_images(name)]))


@cache
def _other_copies() -> TemporaryDirectory[str]:
    """A folder for copies that lasts as long as this process."""
    return TemporaryDirectory(prefix="batchproc-lists-")
