"""From the flags of img2dataset 1.47 to a config: what `batchproc init --from-img2dataset` writes.

Flags are read as python-fire does. `docs/from-img2dataset.md` says for every flag what differs and why.
"""

import ast
import json
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct

from batchproc.errors import Problem, UsageError
from batchproc.redact import printable

Value: TypeAlias = str | int | float | bool | list[str] | None

FLAGS: Mapping[str, Value | type] = {  # in the order of its signature: the default, or else the type
    "url_list": str, "image_size": 256, "output_folder": "images", "processes_count": 1, "resize_mode": "border",
    "resize_only_if_bigger": False, "upscale_interpolation": "lanczos", "downscale_interpolation": "area",
    "encode_quality": 95, "encode_format": "jpg", "skip_reencode": False, "output_format": "files",
    "input_format": "txt", "url_col": "url", "caption_col": str, "bbox_col": str, "thread_count": 256,
    "number_sample_per_shard": 10_000, "extract_exif": True, "save_additional_columns": list, "timeout": 10,
    "enable_wandb": False, "wandb_project": "img2dataset", "oom_shard_count": 5, "compute_hash": "sha256",
    "verify_hash": list, "distributor": "multiprocessing", "subjob_size": 1000, "retries": 0,
    "disable_all_reencoding": False, "min_image_size": 0, "max_image_area": math.inf, "max_aspect_ratio": math.inf,
    "incremental_mode": "incremental", "max_shard_retry": 1, "user_agent_token": str,
    "disallowed_header_directives": list,
}  # fmt: skip

_TEXT_LISTS = ("txt", "csv", "tsv", "json", "jsonl")
CHOICES: Mapping[str, Sequence[str]] = {
    "resize_mode": ("border", "keep_ratio", "keep_ratio_largest", "center_crop", "no"),
    "encode_format": ("jpg", "png", "webp"),
    "output_format": ("files", "webdataset", "parquet", "tfrecord", "dummy"),
    "input_format": (*_TEXT_LISTS, *(f"{kind}.gz" for kind in _TEXT_LISTS), "parquet"),
    "compute_hash": ("md5", "sha256", "sha512", "None"),
    "incremental_mode": ("incremental", "overwrite", "extend"),
    "distributor": ("multiprocessing", "pyspark", "ray"),
}  # fmt: skip
HOW = {"border": "pad", "keep_ratio": "cover", "keep_ratio_largest": "contain", "center_crop": "fit"}
MOST_WORKERS = 1024
LEAST = {"image_size": 1, "number_sample_per_shard": 1, "thread_count": 1, "processes_count": 1, "timeout": 1}

ON_ITS_OWN = "nothing to do: one command uses the whole machine, and the same command continues what was left"
NO_COUNTERPART: Mapping[str, str] = {
    "processes_count": "download threads are thread_count x processes_count; images are made by a process per core",
    "upscale_interpolation": "LANCZOS or bicubic, by [transform] quality, both antialiased",
    "downscale_interpolation": "LANCZOS or bicubic, by [transform] quality, both antialiased",
    "skip_reencode": "every image is encoded again, so that all are upright, in sRGB and free of EXIF",
    "disable_all_reencoding": "the downloaded bytes are not kept: images are encoded again, in the original's format",
    "bbox_col": "a step of your own sees the image alone, not its row: blur faces in a pass over the finished data set",
    "extract_exif": "EXIF is not copied: it may hold places and names; rows have size, format and hash of the original",
    "save_additional_columns": "every column is kept; [job.columns] drop = [...] leaves some out",
    "enable_wandb": "run.json, report.html and [metrics] textfile have the figures",
    "wandb_project": "run.json, report.html and [metrics] textfile have the figures",
    "oom_shard_count": "shards are numbered with five digits or more",
    "verify_hash": "compare that column with source_sha256 in metadata.jsonl",
    "distributor": ON_ITS_OWN,
    "subjob_size": ON_ITS_OWN,
    "max_shard_retry": "not shards but images are tried again: [download] retries, then [job] max_runs_per_item",
}
NO_ARRAY = "a JSON array is no list here: write an object per line, as .jsonl"
NO_SUCH_VALUE: Mapping[tuple[str, str], str] = {
    ("output_format", "tfrecord"): "no TFRecord here: tar shards, which webdataset, datasets and tar read",
    ("output_format", "dummy"): "images are always written: batchproc run --dry-run counts the work",
    ("input_format", "json"): NO_ARRAY,
    ("input_format", "json.gz"): NO_ARRAY,
    ("input_format", "parquet"): "needs pip install 'batchproc[parquet]'",
    ("compute_hash", "md5"): "always SHA-256, of source and output",
    ("compute_hash", "sha512"): "always SHA-256, of source and output",
    ("incremental_mode", "overwrite"): "batchproc run --fresh makes everything again; without it the run continues",
    ("incremental_mode", "extend"): "add the new lines to the list: only they are fetched",
}
OTHER_DIRECTIVES = "noai and noimageai are obeyed, and robots.txt; other directives are not looked at"
NO_DIRECTIVES = "robots = ignore also ignores robots.txt, which img2dataset never reads"


class Flags(Struct, frozen=True, kw_only=True):
    """What was given, checked, over the defaults."""

    given: Mapping[str, Value]

    def text(self, name: str) -> str:
        """The value of a flag as a text; empty when it has none."""
        value = self.given.get(name, FLAGS[name])
        return "" if value is None or isinstance(value, type) else str(value)

    def number(self, name: str) -> float:
        """The value of a numeric flag."""
        return float(self.text(name))

    def is_on(self, name: str) -> bool:
        """The value of a switch."""
        return self.text(name) == "True"


def convert(text: str, name: str) -> str:
    """The config, as TOML, of a job called `name` that does what img2dataset does with these flags.

    Raises `UsageError` with all that is wrong with them.
    """
    flags = read_flags(text)
    notes = [*_notes(flags)]
    lines = [
        "# Made from flags of img2dataset. What differs, and why: batchproc help from-img2dataset",
        *(["#", "# Flags that have no key of their own here:", *(f"#   {note}" for note in notes)] if notes else ()),
    ]
    tables = {
        "job": _job(flags, name),
        "download": _download(flags),
        "transform": _transform(flags),
        "output": _output(flags),
    }
    for table, entries in tables.items():
        lines += ["", f"[{table}]", *(f"{key} = {_toml(value)}" for key, value in entries.items())] if entries else []
        lines += [line for step in _steps(flags) for line in _step_lines(step)] if table == "transform" else []
    return "\n".join([*lines, ""])


def read_flags(text: str) -> Flags:
    """Reads `--flag=value`, `--flag value`, `--flag`, `--noflag` and values without a flag, in the order of FLAGS."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"--from-img2dataset: {error}; quote the flags as a shell would") from None
    problems: list[Problem] = []
    given: dict[str, Value] = {}
    for name, value in _pairs(words[1:] if words[:1] == ["img2dataset"] else words):
        if name not in FLAGS:
            near = get_close_matches(name, FLAGS, n=1)
            meant = f"; did you mean --{near[0]}?" if near else ""
            problems.append(Problem(where=f"--{name}", message=f"img2dataset 1.47 has no such flag{meant}"))
            continue
        try:
            given[name] = _read(name, value)
        except ValueError as error:
            problems.append(Problem(where=f"--{name}={value}", message=str(error)))
    if "url_list" not in given:
        problems.append(Problem(where="--url_list", message="is missing: img2dataset needs it too"))
    if problems:
        raise UsageError(problems)
    return Flags(given=given)


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Every flag with its value, as texts."""
    loose: list[str] = []
    used: set[str] = set()
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or _is_number(word):
            loose.append(word)
            continue
        name, equals, value = word.lstrip("-").partition("=")
        name = name.replace("-", "_")
        if not equals and rest and (not rest[0].startswith("-") or _is_number(rest[0])):
            value = rest.pop(0)
        elif not equals:
            negated = name.removeprefix("no")
            name, value = (negated, "False") if name not in FLAGS and negated in FLAGS else (name, "True")
        used.add(name)
        yield name, value
    names = [name for name in FLAGS if name not in used]
    for index, value in enumerate(loose):
        yield (names[index] if index < len(names) else value), value


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _read(name: str, text: str) -> Value:
    """The value of a flag. Raises ValueError that says what it must be."""
    default = FLAGS[name]
    choices = CHOICES.get(name)
    value = _literal(text)
    if choices is not None:
        if str(value) not in choices:
            raise ValueError(f"must be one of {', '.join(choices)}.")
        return str(value)
    if value is None and (default in (str, list)):
        return None
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise ValueError("must be True or False.")
        return value
    if default is list:
        if not isinstance(value, list):
            raise ValueError("must be a list as [a,b].")
        return value
    if isinstance(default, str) or default is str:
        return str(value)
    return _number(name, value, whole=isinstance(default, int))


def _number(name: str, value: Value, *, whole: bool) -> float:
    is_number = isinstance(value, int) or (isinstance(value, float) and not whole)
    least = LEAST.get(name, 0)
    if isinstance(value, bool) or not is_number or not isinstance(value, int | float) or value < least:
        raise ValueError(f"must be a {'whole ' if whole else ''}number, {least} or more.")
    return value


def _literal(text: str) -> Value:
    """As fire reads it: a Python value, in which words need no quotes; everything else is a text."""
    if text.startswith("[") and text.endswith("]"):
        return [str(_literal(word.strip())) for word in text[1:-1].split(",") if word.strip()]
    if text in ("inf", "float('inf')"):
        return math.inf
    try:
        value = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
    return value if isinstance(value, str | int | float | bool | None) else text


def _job(flags: Flags, name: str) -> dict[str, object]:
    list_name = _input(flags)
    entries: dict[str, object] = {"name": name, "input": list_name}
    if not list_name.removesuffix(".gz").endswith(".txt"):
        entries["url_column"] = flags.text("url_col")
    return entries | {"output": _here(flags.text("output_folder"))}


def _input(flags: Flags) -> str:
    where = _here(flags.text("url_list"))
    return f"{where}/*.{flags.text('input_format')}" if Path(where).is_dir() else where


def _here(path: str) -> str:
    """Paths of a command line are relative to the working directory, those of a config are not."""
    return path if "://" in path else str(Path(path).absolute())


def _download(flags: Flags) -> dict[str, object]:
    entries: dict[str, object] = {}
    if flags.given.keys() & {"thread_count", "processes_count"}:
        entries["workers"] = min(MOST_WORKERS, int(flags.number("thread_count") * flags.number("processes_count")))
    if "timeout" in flags.given:
        seconds = f"{flags.number('timeout'):g}s"
        entries |= {"connect_timeout": seconds, "first_byte_timeout": seconds}
    if "retries" in flags.given:
        entries["retries"] = min(20, int(flags.number("retries")))
    if token := flags.text("user_agent_token"):
        entries["user_agent"] = f"batchproc/{{version}} ({token})"
    if flags.given.get("disallowed_header_directives") == []:
        entries["robots"] = "ignore"
    return entries


def _transform(flags: Flags) -> dict[str, object]:
    area = flags.number("max_image_area")
    return {} if math.isinf(area) or area < 1 else {"max_pixels": int(area)}


def _steps(flags: Flags) -> Iterator[dict[str, object]]:
    if flags.is_on("disable_all_reencoding"):
        return
    if side := int(flags.number("min_image_size")):
        yield {"op": "min_size", "width": side, "height": side}
    ratio = flags.number("max_aspect_ratio")
    if not math.isinf(ratio):
        yield {"op": "max_aspect", "ratio": max(1.0, ratio)}
    mode = flags.text("resize_mode")
    if mode != "no":
        size = [int(flags.number("image_size"))] * 2
        yield {"op": "resize", "size": size, "how": HOW[mode], "only_shrink": flags.is_on("resize_only_if_bigger")} | (
            {"background": "#ffffff"} if mode == "border" else {}
        )


def _step_lines(step: Mapping[str, object]) -> list[str]:
    return ["", "[[transform.steps]]", *(f"{key} = {_toml(value)}" for key, value in step.items())]


def _output(flags: Flags) -> dict[str, object]:
    keeps = flags.is_on("disable_all_reencoding")
    image_format = {"jpg": "jpeg"}.get(flags.text("encode_format"), flags.text("encode_format"))
    entries: dict[str, object] = {"format": "keep" if keeps else image_format}
    if image_format != "png":
        entries["quality"] = min(100, max(1, int(flags.number("encode_quality"))))
    layout = flags.text("output_format")
    if layout != "files":
        entries |= {
            "layout": layout if layout == "parquet" else "webdataset",
            "shard_items": min(100_000, int(flags.number("number_sample_per_shard"))),
        }
    if caption := flags.text("caption_col"):
        entries["caption"] = caption
    return entries


def _notes(flags: Flags) -> Iterator[str]:
    """What to do about every flag that has no key here, in the order given."""
    for name, value in flags.given.items():
        note = NO_COUNTERPART.get(name) or NO_SUCH_VALUE.get((name, str(value)), "")
        if name == "encode_quality" and flags.text("encode_format") == "png":
            note = "PNG is lossless"
        if name == "disallowed_header_directives":
            note = OTHER_DIRECTIVES if value else NO_DIRECTIVES
        if note:
            yield f"--{name}={printable(str(value))}: {note}"


def _toml(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
