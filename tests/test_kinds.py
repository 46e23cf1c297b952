"""The table of failure kinds: whole, true to what the program raises, and the only place that knows codes by name."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from batchproc.config.tables import Config
from batchproc.errors import Reject, StageError
from batchproc.kinds import FAMILIES, TABLE, UNKNOWN, Code, Effect, Kind, Retry, http_code, kind_of

PACKAGE = Path(__file__).parents[1] / "batchproc"
KINDS = [*TABLE.values(), *FAMILIES]
LIKE_A_CODE = re.compile(r"(http|input|policy|timeout|image|step|check|io|worker|internal)\.[a-z0-9_]*")


def sources() -> Iterator[tuple[Path, ast.AST]]:
    for path in PACKAGE.rglob("*.py"):
        yield path.relative_to(PACKAGE), ast.parse(path.read_text())


def raised() -> Iterator[tuple[str, Code, set[Retry]]]:
    """Every `StageError(Code.X, ..., retry=…)` of the program: where, the code, and the retries that it names."""
    for path, tree in sources():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "StageError" and node.args:
                code, retry = node.args[0], {word.arg: word.value for word in node.keywords}.get("retry")
                if isinstance(code, ast.Attribute) and code.attr in Code.__members__:
                    names = {one.attr for one in ast.walk(retry) if isinstance(one, ast.Attribute)} if retry else set()
                    yield path.parts[0], Code[code.attr], {Retry[name] for name in names & set(Retry.__members__)}


def keys() -> set[str]:
    tables = {name: field.annotation for name, field in Config.model_fields.items()}
    return {f"{name}.{key}" for name, table in tables.items() for key in getattr(table, "model_fields", ())}


def test_every_code_has_its_kind_and_every_kind_its_code() -> None:
    others = [code for code in TABLE if not code.startswith("http.")]

    assert list(Code) == others


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.code))
def test_every_kind_is_complete(kind: Kind) -> None:
    assert kind.meaning
    assert kind.advice
    assert not kind.advice.endswith(".")
    assert set(kind.decided_by) <= keys()
    assert kind.retry not in kind.exceptions


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.code))
def test_advice_names_keys_that_there_are(kind: Kind) -> None:
    names = set(re.findall(r"\b[a-z]+(?:_[a-z]+)+\b", f"{kind.meaning} {kind.advice}"))

    assert names <= {key.partition(".")[2] for key in keys()}


def test_what_is_raised_is_tried_again_as_its_kind_says() -> None:
    found = list(raised())

    assert {("download", Code.TOO_LARGE), ("transform", Code.TRUNCATED)} <= {(where, code) for where, code, _ in found}
    assert [] == [
        (where, code, said)
        for where, code, said in found
        if not said <= {kind_of(code).retry_in(where), *kind_of(code).exceptions}
    ]


def test_no_code_is_spelled_out_where_its_name_would_do() -> None:
    found = [
        f"{path}:{node.lineno}: {node.value}"
        for path, tree in sources()
        if path.name != "kinds.py"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and LIKE_A_CODE.fullmatch(node.value)
    ]

    assert [] == found


@pytest.mark.parametrize(
    ("code", "retry", "effect"),
    [
        ("http.404", Retry.NEVER, Effect.ANSWERED),
        ("http.418", Retry.NEVER, Effect.ANSWERED),
        ("http.408", Retry.BACKOFF, Effect.ANSWERED),
        ("http.500", Retry.BACKOFF, Effect.ANSWERED),
        ("http.599", Retry.BACKOFF, Effect.ANSWERED),
        ("http.503", Retry.BACKOFF, Effect.REFUSED),
        ("rate", Retry.HOST, Effect.REFUSED),
        ("dns", Retry.BACKOFF, Effect.UNREACHED),
        ("timeout.idle", Retry.BACKOFF, Effect.SILENT),
        ("proxy", Retry.NEXT_RUN, Effect.BARRED),
        ("check.mine", Retry.NEVER, Effect.ANSWERED),
    ],
)
def test_what_a_code_says(code: str, retry: Retry, effect: Effect) -> None:
    kind = kind_of(code)

    assert (code, retry, effect) == (kind.code, kind.retry, kind.effect)


def test_checks_reject_and_nothing_else_does() -> None:
    assert [code for code in Code if code.startswith("check.")] == [code for code in Code if TABLE[code].is_rejection]
    assert kind_of(Reject("mine", code="check.mine").code).is_rejection


def test_an_unknown_code_has_a_kind_that_says_so_and_proves_nothing() -> None:
    kind = kind_of("brand.new")

    assert ("brand.new", UNKNOWN.meaning) == (kind.code, kind.meaning)
    assert not kind.is_final_in("download")


def test_an_error_takes_its_retry_from_its_kind_unless_it_says_another() -> None:
    assert Retry.BACKOFF is StageError(Code.TRUNCATED, "cut").retry
    assert Retry.ONCE is StageError(Code.TRUNCATED, "cut").retry_in("transform")
    assert Retry.ONCE is StageError(Code.DNS, "no such name", retry=Retry.ONCE).retry
    assert Retry.NEVER is StageError(http_code(404), "not found").retry
