"""The download stage: what each worker opens for itself, and how one item passes through it."""

from dataclasses import dataclass

from batchproc.download.client import Client
from batchproc.download.settings import Settings
from batchproc.model import Fetch, Item, Moved, Original
from batchproc.protocols import Lap


@dataclass(frozen=True, slots=True, kw_only=True)
class Download(Settings):
    """The stage `download`: takes `Item[Fetch]`, gives `Original` or `Moved`. Picklable; its limits: see `Settings`."""

    @property
    def name(self) -> str:
        """The stage's name."""
        return "download"

    @property
    def preload(self) -> tuple[str, ...]:
        """What a fork server imports once."""
        return ("batchproc.download.stage",)

    def open(self) -> "DownloadWork":
        """Prepares one worker, which shares the connections of all that this process opens with equal settings."""
        return DownloadWork(self)


class DownloadWork:
    """One worker's downloads, over connections that are kept alive from item to item."""

    def __init__(self, settings: Settings) -> None:
        self._client = Client(settings)

    def __call__(self, item: Item[Fetch], lap: Lap) -> Original | Moved:
        """Downloads the item's URL. Raises `StageError`."""
        return self._client.fetch(item.source.url, item.value, lap)

    def abort(self) -> None:
        """Shuts the socket in use; this and every later call ends as `cancelled`. From any thread."""
        self._client.abort()

    def close(self) -> None:
        """Leaves the shared connections; with the last worker they are closed."""
        self._client.close()
