"""What the ledger says of an item is true of one URL: what becomes of it when the list has another one for it.

A failure is forgotten, since it was the old URL's. An image stays, with its row in `metadata.jsonl`: `made_url` and
`made_extra_json` keep the URL and the columns that it was made with until the new URL's image takes its place. Its
validators are never sent to the new URL. Where the old URL comes back before that, all is as it was.
"""

import sqlite3
from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from batchproc.ledger.schema import State

INPUT_STAGE = "input"
SameUrl = Callable[[str, str], bool]  # whether two spellings name the same resource

READ = "SELECT url, extra_json, state, stage, code, message, made_url, made_extra_json FROM item WHERE id = ?"
WRITE = """
UPDATE item SET url = :url, extra_json = :extra_json, state = :state, stage = :stage, code = :code, message = :message,
  made_url = :made_url, made_extra_json = :made_extra_json,
  hint = CASE WHEN :is_reset THEN '' ELSE hint END, due = CASE WHEN :is_reset THEN :due ELSE due END,
  runs = CASE WHEN :is_reset THEN 0 ELSE runs END, attempts = CASE WHEN :is_reset THEN 0 ELSE attempts END
WHERE id = :item
"""


class Listing(Struct, frozen=True, kw_only=True):
    """What the list says of an item now. `code` and `message` are those of a line that is no URL."""

    url: str
    extra_json: str
    code: str = ""
    message: str = ""


class KnownItem(Struct, frozen=True, kw_only=True):
    """What the ledger says of an item that is in the list."""

    url: str
    extra_json: str
    state: str
    stage: str
    code: str
    message: str
    made_url: str | None
    made_extra_json: str | None

    @property
    def has_image(self) -> bool:
        """Whether an image of the adopted plan is there, of this URL or of an earlier one."""
        return self.state == State.DONE or self.made_url is not None

    @property
    def image_url(self) -> str:
        """The URL that the image was made of."""
        return self.url if self.made_url is None else self.made_url


def change_url(
    connection: sqlite3.Connection, item: int, listing: Listing, *, same_url: SameUrl, keyed_by_id: bool
) -> None:
    """Brings a listed item up to its line in the list, inside a transaction.

    `keyed_by_id`: the list's id says which item it is, and its URL may be any other. Otherwise the key is the URL as
    listed, so that only what it is joined with can have changed: then an image stays done.
    """
    row = connection.execute(READ, (item,)).fetchone()
    known = KnownItem(**dict(zip(KnownItem.__struct_fields__, row, strict=True)))
    new = _next(known, listing, same_url, keyed_by_id=keyed_by_id)
    facts = {name: getattr(new, name) for name in KnownItem.__struct_fields__}
    is_reset = (new.state, new.stage) != (known.state, known.stage) or not same_url(known.url, new.url)
    connection.execute(
        WRITE, facts | {"item": item, "is_reset": is_reset, "due": int(new.state == State.PENDING)}
    )


def _next(known: KnownItem, listing: Listing, same_url: SameUrl, *, keyed_by_id: bool) -> KnownItem:
    new = replace(known, url=listing.url, extra_json=listing.extra_json)
    if listing.code:
        return _refused(known, replace(new, code=listing.code, message=listing.message))
    if known.has_image and same_url(known.image_url, new.url):
        return replace(
            new, state=State.DONE, stage="", code="", message="", made_url=None, made_extra_json=None
        )
    if same_url(known.url, new.url) and known.stage != INPUT_STAGE:
        return new
    if not known.has_image:
        return _pending(new)
    if not keyed_by_id:
        return replace(new, state=State.DONE, stage="", code="", message="", made_url=known.image_url)
    return _pending(_holding(known, new))


def _refused(known: KnownItem, new: KnownItem) -> KnownItem:
    """The line is no URL any more. One that an image was made of is believed to be one."""
    if known.has_image and known.url == new.url:
        return replace(known, extra_json=new.extra_json)
    held = _holding(known, new) if known.has_image else new
    return replace(held, state=State.FAILED, stage=INPUT_STAGE)


def _holding(known: KnownItem, new: KnownItem) -> KnownItem:
    """The item keeps the image that it has, with the URL and the columns that were the image's."""
    extra_json = known.extra_json if known.made_extra_json is None else known.made_extra_json
    return replace(new, made_url=known.image_url, made_extra_json=extra_json)


def _pending(new: KnownItem) -> KnownItem:
    return replace(new, state=State.PENDING, stage="", code="", message="")
