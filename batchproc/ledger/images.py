"""What the ledger asks of the files: their temporary and their final names."""

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol


class Images(Protocol):
    """Where renditions are: their temporary and their final names. Used by the writer thread, or before it starts."""

    def temporary_name(self, path: str) -> str:
        """The name of a temporary file among the temporary files: what the ledger remembers of its path."""
        ...

    def temporary_path(self, name: str) -> Path: ...

    def temporary_names(self) -> Iterable[str]:
        """The names of the temporary files that exist."""
        ...

    def file_name(self, key_hex: str, suffix: str) -> str:
        """The path of a rendition as the manifests name it."""
        ...

    def final_path(self, key_hex: str, suffix: str) -> Path: ...

    def final_names(self) -> Iterable[tuple[str, str]]:
        """Key and suffix of every rendition's file that exists."""
        ...

    def names_in(self, prefix: str) -> list[str]:
        """The names of all files in the folder of the keys that begin with these two digits."""
        ...

    def shard_path(self, name: str) -> Path:
        """Where a shard is."""
        ...

    def look(self) -> str:
        """What changes whenever a file is added or removed; empty while the last such change is too fresh to tell."""
        ...

    def place(self, name: str, key_hex: str, suffix: str) -> None:
        """Gives a temporary file its final name, replacing what is there. Raises OSError."""
        ...

    def remove(self, key_hex: str, suffix: str) -> None:
        """Deletes the file of an older rendition; one that is already gone is fine, and a folder stays."""
        ...

    def sync(self) -> None:
        """Makes the names given since the last call survive a power cut."""
        ...
