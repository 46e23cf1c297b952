"""The data set on the page: its shards, its images by size and shape, and what was left out of it on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass

from batchproc.explain.words import count, share, size
from batchproc.kinds import Code
from batchproc.record.outputs import DataSetRecord, ImageClass, RejectedItems, ShardsRecord
from batchproc.record.run_json import RunRecord

SHARDS_SHOWN = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Bars:
    """A histogram as a table: name, images, share of the largest in per cent, originals where they are of interest."""

    caption: str
    rows: Sequence[tuple[str, int, float, int]]
    has_originals: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSetView:
    """The section. `shards`: name, images, size and share of the largest in per cent."""

    sentence: str
    shards: Sequence[tuple[str, int, int, float]]
    shards_sentence: str
    histograms: Sequence[Bars]
    rejected: Sequence[RejectedItems]


def view_data_set(record: RunRecord) -> DataSetView | None:
    """None where there is nothing to show."""
    data = record.data_set
    if data is None or not (data.images or data.rejected):
        return None
    histograms = [_bars("Longer side", data.sides), _bars("Shape, width to height", data.shapes)]
    shards = data.shards
    largest = max((shard.size_bytes for shard in shards.first[:SHARDS_SHOWN]), default=0) if shards else 0
    return DataSetView(
        sentence=_sentence(data),
        shards=[
            (shard.name, shard.images, shard.size_bytes, 100 * shard.size_bytes / max(largest, 1))
            for shard in (shards.first[:SHARDS_SHOWN] if shards else ())
        ],
        shards_sentence=_shards_sentence(shards) if shards else "",
        histograms=[one for one in histograms if one.rows],
        rejected=data.rejected,
    )


def _sentence(data: DataSetRecord) -> str:
    rejected = sum(one.items for one in data.rejected)
    alike = sum(one.items for one in data.rejected if one.code == Code.CHECK_UNIQUE)
    in_shards = f" in {count(data.shards.count, 'shard')}" if data.shards and data.shards.count else ""
    mean = f", {size(data.size_bytes // data.images)} each" if data.images else ""
    text = f"{count(data.images, 'image')}{in_shards}, {size(data.size_bytes)}{mean}."
    if not rejected:
        return text
    words = f"{count(rejected, 'item')} rejected on purpose, {share(rejected / (rejected + data.images))} of those seen"
    duplicates = f", among them {count(alike, 'duplicate')}" if alike else ""
    return f"{text} {words}{duplicates}."


def _shards_sentence(shards: ShardsRecord) -> str:
    if shards.count <= 1:
        return ""
    more = shards.count - min(len(shards.first), SHARDS_SHOWN)
    sizes = f"From {size(shards.least_bytes)} to {size(shards.most_bytes)}, {size(shards.size_bytes)} together"
    return f"{sizes}; {count(more, 'more shard')} in manifest.json." if more else f"{sizes}."


def _bars(caption: str, classes: Sequence[ImageClass]) -> Bars:
    largest = max((one.images for one in classes), default=0)
    return Bars(
        caption=caption,
        rows=[(one.name, one.images, 100 * one.images / max(largest, 1), one.originals) for one in classes],
        has_originals=any(one.images != one.originals for one in classes),
    )
