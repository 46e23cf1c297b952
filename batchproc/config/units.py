"""Durations and sizes as people write them, and the other value types of the config with their messages."""

import math
import re
from collections.abc import Callable, Sequence
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, PlainValidator, ValidationInfo, WithJsonSchema
from pydantic_core import PydanticCustomError

from batchproc.defaults import SPLIT_NAME
from batchproc.hostname import ascii_host
from batchproc.sniff import is_image_name

OUR_ERROR = "batchproc"  # the pydantic error type of messages that are whole sentences already

LONGEST_SECONDS = 366 * 86400.0
MOST_WORKERS = 1024

_NUMBER = r"\d{1,18}(?:\.\d{1,18})?"  # no more digits than a clock or a disk has use for: never infinite
_DURATION = rf"(?:{_NUMBER}|(?:{_NUMBER}(?:ms|s|m|h))+)"
_DURATION_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|$)")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_SIZE = rf"(?:(\d{{1,18}})|({_NUMBER}) ?(B|[kKMGT]B|[KMGT]iB))"
_BYTES = {"B": 1} | {
    f"{letter}{unit}": base**power
    for base, unit in ((1000, "B"), (1024, "iB"))
    for power, letter in enumerate("KMGT", start=1)
}
_DURATION_HELP = 'must be a duration as "250ms", "5s", "2m" or "1h30m", or a number of seconds'
_SIZE_HELP = 'must be a size as "32MB" (10^6) or "32MiB" (2^20), or a number of bytes'
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110, section 5.6.2




def refuse(sentence: str) -> PydanticCustomError:
    """The error to raise from a validator: `sentence` says what is allowed and reaches the user as it is."""
    return PydanticCustomError(OUR_ERROR, "{sentence}", {"sentence": sentence})


def parse_duration(value: object) -> float:
    """Seconds of `"250ms"`, `"1h30m"` or a number of seconds, also one in quotes."""
    if isinstance(value, str) and re.fullmatch(_DURATION, value):
        return float(sum(float(number) * _SECONDS[unit] for number, unit in _DURATION_PART.findall(value)))
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise refuse(f"{_DURATION_HELP}.")


def parse_size(value: object) -> int:
    """Bytes of `"32MB"`, `"32MiB"` or a number of bytes, also one in quotes."""
    if isinstance(value, str) and (match := re.fullmatch(_SIZE, value)):
        whole, number, unit = match.groups()
        return int(whole) if whole else int(float(number) * _BYTES[unit.replace("k", "K")])
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise refuse(f"{_SIZE_HELP}.")


def _bounded_duration(*, zero: bool) -> Callable[[object], float]:
    def check(value: object) -> float:
        seconds = parse_duration(value)
        if seconds < 0 or (seconds == 0 and not zero):
            raise refuse("must be 0 or more." if zero else "must be more than 0.")
        if seconds > LONGEST_SECONDS:
            raise refuse("must be at most 366 days.")
        return seconds

    return check


def _duration_schema(*, zero: bool) -> WithJsonSchema:
    bound: dict[str, Any] = {"minimum": 0} if zero else {"exclusiveMinimum": 0}
    text = {"type": "string", "pattern": f"^{_DURATION}$"}
    return WithJsonSchema({"anyOf": [text, {"type": "number", **bound, "maximum": LONGEST_SECONDS}]})


Duration: TypeAlias = Annotated[float, PlainValidator(_bounded_duration(zero=True)), _duration_schema(zero=True)]
Timeout: TypeAlias = Annotated[float, PlainValidator(_bounded_duration(zero=False)), _duration_schema(zero=False)]


def at_least(smallest: str) -> tuple[PlainValidator, WithJsonSchema]:
    """The annotations of a size in bytes that is `smallest` or more."""
    minimum = parse_size(smallest)

    def check(value: object) -> int:
        size_bytes = parse_size(value)
        if size_bytes < minimum:
            raise refuse(f"must be {smallest} or more." if minimum else "must be 0 or more.")
        return size_bytes

    text = {"type": "string", "pattern": f"^{_SIZE}$"}
    return PlainValidator(check), WithJsonSchema({"anyOf": [text, {"type": "integer", "minimum": minimum}]})


def _download_workers(value: object) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= MOST_WORKERS:
        return value
    raise refuse(f'must be a whole number from 1 to {MOST_WORKERS}, or "auto".')


def _transform_workers(value: object, info: ValidationInfo) -> int | Literal["auto"]:
    if value == "auto":
        return "auto"
    if not isinstance(value, int) or isinstance(value, bool):
        raise refuse('must be a whole number, or "auto" for one per core.')
    if value < 0:
        cores = (info.context or {}).get("cores")
        raise refuse(f"must be 0 (one per core{f', here {cores}' if cores else ''}) or more.")
    if value > MOST_WORKERS:
        raise refuse(f"must be {MOST_WORKERS} or less.")
    return value


def _workers_schema(minimum: int) -> WithJsonSchema:
    number = {"type": "integer", "minimum": minimum, "maximum": MOST_WORKERS}
    return WithJsonSchema({"anyOf": [{"const": "auto"}, number]})


DownloadWorkers: TypeAlias = Annotated[int | Literal["auto"], PlainValidator(_download_workers), _workers_schema(1)]
TransformWorkers: TypeAlias = Annotated[int | Literal["auto"], PlainValidator(_transform_workers), _workers_schema(0)]


def _splits(value: dict[str, float] | str) -> dict[str, float] | str:
    if isinstance(value, str):
        return value
    if wrong := [name for name in value if not SPLIT_NAME.fullmatch(name)]:
        raise refuse(f'has the name "{wrong[0]}": must be letters, digits and underscores, as train.')
    if value and abs(sum(value.values()) - 1) > 1e-9:
        raise refuse(f"adds up to {sum(value.values()):g}: the shares must add up to 1.")
    return value


def _one_line(value: str) -> str:
    if not value.strip():
        raise refuse("must not be empty.")
    if any(character < " " or character == "\x7f" for character in value):
        raise refuse("must be one line without control characters.")
    return value


def _web_address(value: str) -> str:
    """Accepts nothing, or an http(s) URL with a host. Raises for the rest."""
    if not value:
        return value
    try:
        parts = urlsplit(value)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good or any(character <= " " for character in value):
        raise refuse('must be a URL as "https://example.com/", or empty.')
    return value


def _network(value: str) -> str:
    try:
        ip_network(value, strict=False)
    except ValueError:
        raise refuse('must be an address or a network as "10.1.2.3" or "10.0.0.0/8".') from None
    return value


def _headers(value: dict[str, str]) -> dict[str, str]:
    for name, text in value.items():
        if not _TOKEN.fullmatch(name):
            raise refuse(f'"{name}" is no header name: letters, digits and hyphens only.')
        if any(character < " " or character > "\xff" or character == "\x7f" for character in text.replace("\t", " ")):
            raise refuse(f'the value of "{name}" must be one line of Latin-1 text without control characters.')
    return value


def _host_pattern(value: str) -> str:
    """A host's name in ASCII, perhaps behind "*." and before ":port". Raises for the rest."""
    name, colon, port = value.rpartition(":") if not value.endswith("]") else (value, "", "")
    if not colon:
        name, port = value, ""
    try:
        if colon and not (port.isascii() and port.isdecimal() and 0 < int(port) < 65536):
            raise ValueError("has no port from 1 to 65535 behind its colon")
        star = "*." if name.startswith("*.") else ""
        is_address = name.startswith("[") and name.endswith("]")
        host = name.lower() if is_address else ascii_host(name.removeprefix("*."))
    except ValueError as error:
        forms = '"img.example.org", "*.example.org" or "[::1]:8443"'
        raise refuse(f'"{value}" {error}; a host is written {forms}.') from None
    return f"{star}{host.strip('[]') if is_address else host}{colon}{port}"


def _delimiter(value: str) -> str:
    """Accepts nothing or one character; a tab also as a shell hands it over. Raises for the rest."""
    value = {"\\t": "\t", "tab": "\t"}.get(value, value)
    if len(value) > 1 or value in ('"', "\r", "\n") or value.isalnum():
        raise refuse('must be one character as ",", ";", "|" or "\\t", and no quote, letter or digit.')
    return value


def _colour(value: str) -> str:
    if not re.fullmatch("#[0-9a-fA-F]{6}", value):
        raise refuse('must be a colour as "#ffffff".')
    return value.lower()


BUCKETS = ("s3", "gs", "az")  # schemes of object stores


def is_remote(name: str) -> bool:
    """Whether a path of the config is an address: `scheme://...`."""
    return "://" in name


def is_in_bucket(name: str) -> bool:
    """Whether an address is that of an object store."""
    return is_remote(name) and urlsplit(name).scheme in BUCKETS


def find_bad_address(name: str, schemes: Sequence[str]) -> str:
    """What is wrong with an address, as the end of a sentence; nothing where it may be used."""
    parts = urlsplit(name)
    if parts.scheme not in schemes:
        return f"must be a path here, or begin with {', '.join(f'{scheme}://' for scheme in schemes)}."
    if parts.username or parts.password or parts.fragment or (parts.query and parts.scheme in BUCKETS):
        return "must not hold a login, and no query or fragment; logins are taken from the environment."
    if not parts.netloc:
        return f"must name a bucket, as {parts.scheme}://bucket/folder."
    return ""


LIST_SUFFIXES = (".txt", ".csv", ".tsv", ".jsonl")
ARROW_SUFFIXES = (".parquet", ".feather", ".arrow")  # read by an extra, and never gzipped


def _columns(value: object) -> dict[str, str | list[str]]:
    """New names of columns, and under "drop" those that are left out."""
    table: dict[str, Any] = value if isinstance(value, dict) else {"drop": None}
    dropped = table.get("drop", [])
    renamed = [old for name, old in table.items() if name != "drop"]
    if not isinstance(dropped, list) or not all(isinstance(name, str) for name in (*dropped, *renamed)):
        raise refuse('must name columns of the list, as caption = "TEXT" or drop = ["a", "b"].')
    if len({*renamed, *dropped}) < len(renamed) + len(dropped):
        raise refuse("must name each column of the list once.")
    return table


def _list_names(value: object) -> tuple[str, ...]:
    """One list or several: files that are read by their suffixes, folders of such, patterns; or "-" by itself."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list | tuple) or not names or not all(isinstance(name, str) for name in names):
        raise refuse('must be the name of a list, or several as ["a.csv", "lists/*.parquet"].')
    for name in names:
        _one_line(name)
        if name == "-" and len(names) > 1:
            raise refuse('cannot have "-" beside others: stdin is a list by itself.')
        if is_remote(name) and (bad := find_bad_address(name, (*BUCKETS, "https", "http"))):
            raise refuse(bad)
        path = urlsplit(name).path if is_remote(name) else name
        suffix = Path(path.removesuffix(".gz")).suffix.lower()
        is_known = not suffix or suffix in LIST_SUFFIXES or path.lower().endswith(ARROW_SUFFIXES)
        if not is_known and (is_remote(name) or not _may_be_image(name)):
            known, arrow = ", ".join(LIST_SUFFIXES), " or ".join(ARROW_SUFFIXES)
            raise refuse(
                f'must end in {known}, each also with .gz, in {arrow}, or be "-" for stdin; '
                "or be images: a folder with a slash at its end, or files as photos/*.jpg."
            )
    return tuple(names)


def _may_be_image(name: str) -> bool:
    """Whether a path may mean images of this machine: by its ending, or because only what is there can tell."""
    suffix = Path(name).suffix
    return name.endswith("/") or is_image_name(name) or any(sign in suffix for sign in "*?[")


def _output_name(value: str) -> str:
    """A folder, or an address of a bucket."""
    if is_remote(value) and (bad := find_bad_address(value, BUCKETS)):
        raise refuse(bad)
    return value


Splits: TypeAlias = Annotated[dict[str, Annotated[float, Field(gt=0, le=1)]] | str, AfterValidator(_splits)]
Text: TypeAlias = Annotated[str, AfterValidator(_one_line), Field(min_length=1)]
TEXT_SCHEMA: dict[str, Any] = {"type": "string", "minLength": 1}
ListNames: TypeAlias = Annotated[
    tuple[str, ...],
    BeforeValidator(_list_names),
    WithJsonSchema({"anyOf": [TEXT_SCHEMA, {"type": "array", "items": TEXT_SCHEMA, "minItems": 1}]}),
]
OutputName: TypeAlias = Annotated[Text, AfterValidator(_output_name)]
WebAddress: TypeAlias = Annotated[str, AfterValidator(_web_address)]
Network: TypeAlias = Annotated[str, AfterValidator(_network)]
Columns: TypeAlias = Annotated[
    dict[str, str | list[str]],
    BeforeValidator(_columns),
    WithJsonSchema(
        {
            "type": "object",
            "properties": {"drop": {"type": "array", "items": {"type": "string"}}},
            "additionalProperties": {"type": "string"},
        }
    ),
]
Headers: TypeAlias = Annotated[dict[str, str], AfterValidator(_headers)]
HostPattern: TypeAlias = Annotated[str, AfterValidator(_host_pattern)]
Delimiter: TypeAlias = Annotated[str, AfterValidator(_delimiter)]
Colour: TypeAlias = Annotated[
    str, AfterValidator(_colour), WithJsonSchema({"type": "string", "pattern": "^#[0-9a-fA-F]{6}$"})
]
