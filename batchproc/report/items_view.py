"""Items on the page: failures with examples, hosts, the slowest, and the data set with its shards and sizes.

Counts are exact or marked as estimates.
"""

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from urllib.parse import urlsplit

from msgspec import Struct, field

from batchproc.explain.words import count, share, size
from batchproc.kinds import Code
from batchproc.record.run_json import RunRecord
from batchproc.record.run_parts import DataSetRecord, ShardsRecord
from batchproc.redact import printable, redact_text, redact_url
from batchproc.report.run_files import Row, Rows

EXAMPLES = 3
CODES_SHOWN = 40
HOSTS_SHOWN = 20
SLOWEST_SHOWN = 10
URL_SHOWN = 140
TEXT_SHOWN = 300
LINK_LENGTH = 2083
HOST_SHOWN = 80


class Link(Struct, frozen=True, kw_only=True):
    """A URL to show. `href` is empty where it must not be clicked: not http(s), or something in it is hidden."""

    text: str
    href: str = ""


class FailureGroup(Struct, frozen=True, kw_only=True):
    """All items of one code. `now`: in the whole list; `this_run`: None when this run does not tell."""

    code: str
    now: int | None
    this_run: int | None
    examples: Sequence[Row]


class HostRow(Struct, kw_only=True):
    """One host. `codes`: of its failed items; `seconds`: of its downloads in the sample of spans."""

    name: str
    done: int = 0
    codes: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """Failed items."""
        return self.codes.total()

    @property
    def failed_share(self) -> float:
        """Of its items, 0 to 1."""
        return self.failed / (self.done + self.failed)

    @property
    def top_code(self) -> str:
        """The most frequent one; empty where nothing failed."""
        return next((code for code, _ in self.codes.most_common(1)), "")

    @property
    def p50_seconds(self) -> float | None:
        """The median download; None when none is in the sample."""
        return statistics.median(self.seconds) if self.seconds else None


class ItemsView(Struct, frozen=True, kw_only=True):
    """Three sections; `slowest` has attempts. `read_share`: of the manifests' bytes that were read; None: none.

    `known`: the manifests' rows of the keys that were asked for, as far as they were read.
    """

    failures: Sequence[FailureGroup]
    codes_left_out: int
    hosts: Sequence[HostRow]
    hosts_total: int
    slowest: Sequence[Row]
    read_share: float | None
    known: Mapping[str, Row]


def view_items(
    record: RunRecord,
    attempts: Sequence[Row],
    metadata: Rows | None,
    failures: Rows | None,
    keys: Iterable[str] = (),
) -> ItemsView:
    """Reads each manifest once, keeping the rows of `keys`. Both are None where the job's folder is not at hand."""
    slowest = sorted(attempts, key=lambda row: (-total_seconds(row), str(row.get("key"))))[:SLOWEST_SHOWN]
    downloads = ((str(row.get("key")), service_seconds(row, "download")) for row in attempts)
    times = {key: seconds for key, seconds in downloads if seconds is not None}
    hosts: dict[str, HostRow] = {}
    known: dict[str, Row] = {}
    examples: dict[str, list[Row]] = defaultdict(list)
    wanted = {*keys, *(str(row.get("key")) for row in slowest)}
    for row in metadata or ():
        _count(row, hosts, times).done += 1
        if row.get("key") in wanted:
            known[str(row["key"])] = row
    for row in failures or ():
        code = str(row.get("code"))
        if len(examples[code]) < EXAMPLES:
            examples[code].append(row)
        if row.get("outcome") in ("failed", "quarantined"):
            _count(row, hosts, times).codes[code] += 1
        if row.get("key") in wanted:
            known[str(row["key"])] = row
    groups = _groups(record, examples)
    shares = [rows.share for rows in (metadata, failures) if rows is not None]
    return ItemsView(
        failures=groups[:CODES_SHOWN],
        codes_left_out=max(0, len(groups) - CODES_SHOWN),
        hosts=sorted(hosts.values(), key=lambda host: (-host.done - host.failed, host.name))[:HOSTS_SHOWN],
        hosts_total=len(hosts),
        slowest=slowest,
        read_share=min(shares) if shares else None,
        known=known,
    )


def link_to(url: object) -> Link:
    """How a URL is shown: secrets hidden, control characters escaped, clickable only when it is http(s) and whole."""
    raw = url if isinstance(url, str) else ""
    text = printable(redact_url(raw))
    is_safe = text == raw and raw.lower().startswith(("http://", "https://"))
    return Link(text=_clipped(text, URL_SHOWN), href=raw if is_safe and len(raw) <= LINK_LENGTH else "")


def item_link(view: ItemsView, key: object) -> Link:
    """The URL of an item, as far as its row was read; else its key."""
    row = view.known.get(str(key))
    return link_to(row.get("url")) if row else Link(text=f"key {key}")


def host_of(url: object) -> str:
    """The host and port of a URL, printable; `this machine` for a file, `no host` where there is none."""
    return _host_of("/".join(url.split("/", 3)[:3])) if isinstance(url, str) else "no host"


@lru_cache(maxsize=4096)
def _host_of(front: str) -> str:
    try:
        parts = urlsplit(front)
        name, port = parts.hostname or "", parts.port
    except ValueError:
        return "no host"
    if parts.scheme == "file":
        return "this machine"
    return _clipped(printable(f"{name}:{port}" if port and name else name), HOST_SHOWN) or "no host"


def _clipped(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"


def _count(row: Row, hosts: dict[str, HostRow], times: Mapping[str, float]) -> HostRow:
    name = host_of(row.get("url"))
    host = hosts.setdefault(name, HostRow(name=name))
    seconds = times.get(str(row.get("key")))
    if seconds is not None:
        host.seconds.append(seconds)
    return host


def _groups(record: RunRecord, examples: Mapping[str, Sequence[Row]]) -> list[FailureGroup]:
    """By number of items in the whole list; what only this run saw, or was only rejected, comes after.

    What was rejected has its place with the data set, if the record has that.
    """
    now, this_run = record.failures, record.failures_this_run
    rejected = [code for code, rows in examples.items() if any(row.get("outcome") == "rejected" for row in rows)]
    elsewhere = {one.code for one in record.data_set.rejected} if record.data_set else set()
    seen = dict.fromkeys([*now, *(this_run or {}), *rejected])
    codes = [code for code in seen if code in now or code not in elsewhere]
    groups = [
        FailureGroup(
            code=code,
            now=now.get(code) if code in now or code not in rejected else None,
            this_run=None if this_run is None else this_run.get(code, 0),
            examples=examples.get(code, ()),
        )
        for code in codes
    ]
    return sorted(groups, key=lambda group: (-(group.now or 0), group.code))


def told(text: object) -> str:
    """What a row says of itself, without secrets and of a bearable length."""
    return redact_text(_clipped(str(text or ""), TEXT_SHOWN))


def service_seconds(attempt: Row, stage: str) -> float | None:
    """How long an attempt was in a stage; None where it did not reach it."""
    span = next((span for span in attempt["spans"] if span.get("stage") == stage), None)
    return None if span is None else float(span["ended"]) - float(span["started"])


def total_seconds(attempt: Row) -> float:
    """How long an attempt was in both stages."""
    return (service_seconds(attempt, "download") or 0.0) + (service_seconds(attempt, "transform") or 0.0)


SHARDS_SHOWN = 12


def data_set_sentence(data: DataSetRecord) -> str:
    """How many images there are, of what size, and how many items were rejected on purpose."""
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


def shards_sentence(shards: ShardsRecord) -> str:
    """From how much to how much they are; empty for one shard."""
    if shards.count <= 1:
        return ""
    more = shards.count - min(len(shards.first), SHARDS_SHOWN)
    sizes = f"From {size(shards.least_bytes)} to {size(shards.most_bytes)}, {size(shards.size_bytes)} together"
    return f"{sizes}; {count(more, 'more shard')} in manifest.json." if more else f"{sizes}."

