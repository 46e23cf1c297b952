"""Host names as resolvers take them: one rule for lists, redirects, requests and the politeness that counts by host.

International names by UTS 46, non-transitional, as browsers read them: symbols and underscores stay, joiners where a
script needs them (RFC 5892, appendix A). Hyphens may stand anywhere in a label, as they do in real names.
"""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TypeVar

import idna

MOST_NAME_CHARACTERS = 253  # without the root's dot (RFC 1035, section 2.3.4)
MOST_LABEL_CHARACTERS = 63

T = TypeVar("T")

_LABEL = re.compile(r"[a-z0-9_~-]+")
_JOINERS = "\u200c\u200d"


@lru_cache(maxsize=8192)
def ascii_host(host: str) -> str:
    """A host name in ASCII and lower case, without the root's dot. Raises ValueError that says what is wrong."""
    name = (host if host.isascii() else _encode(host)).lower().removesuffix(".")
    labels = name.split(".")
    if len(name) > MOST_NAME_CHARACTERS or any(len(label) > MOST_LABEL_CHARACTERS for label in labels):
        raise ValueError("is too long: 63 characters between dots, 253 in all")
    if not all(_LABEL.fullmatch(label) and _is_readable(label) for label in labels):
        raise ValueError("is not a valid name")
    return name


def _encode(host: str) -> str:
    try:
        mapped = idna.uts46_remap(host, std3_rules=False, transitional=False)
        return ".".join(map(_encode_label, mapped.split(".")))
    except UnicodeError:  # idna's errors are its children
        raise ValueError("is not a valid international name") from None


def _encode_label(label: str) -> str:
    if label.isascii():
        return label
    _check_label(label)
    return "xn--" + label.encode("punycode").decode("ascii")


def _check_label(label: str) -> None:
    """Raises `idna.IDNAError` where UTS 46 (section 4.1) says that a label cannot be."""
    idna.check_initial_combiner(label)
    idna.check_bidi(label)
    for at, character in enumerate(label):
        if character in _JOINERS and not idna.valid_contextj(label, at):
            raise idna.InvalidCodepointContext(f"a joiner at position {at + 1}")


def _is_readable(label: str) -> bool:
    """Whether a label that claims to be punycode stands for something; others are fine."""
    if not label.startswith("xn--"):
        return True
    try:
        text = label[4:].encode("ascii").decode("punycode")
        _check_label(text)
        is_mapped = idna.uts46_remap(text, std3_rules=False, transitional=False) == text
    except UnicodeError:
        return False
    return is_mapped and not text.isascii()


def closest(patterns: Mapping[str, T], host: str, port: int | None = None) -> T | None:
    """What is said of a host: by its name, else by the nearest domain as `*.example.org`; with its port first.

    `host` as `ascii_host` gives it; a `port` of None is that of http or https.
    """
    ports = [f":{port}"] if port is not None else [":443", ":80"]
    for name in _names_of(host):
        for suffix in (*ports, ""):
            if (found := patterns.get(name + suffix)) is not None:
                return found
    return None


def _names_of(host: str) -> Iterator[str]:
    """The host, then the patterns of the domains that it lies in, the nearest first."""
    yield host
    for at, character in enumerate(host):
        if character == ".":
            yield f"*{host[at:]}"
