"""What loaders need of metadata.jsonl, without the loaders: their campaign is `python -m tests.campaign.loaders`."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.campaign.loaders.__main__ import serving, write_job
from tests.campaign.loaders.lists import Case, make_cases
from tests.campaign.loaders.reading import differences
from tests.pipeline.test_modes import run

CASES = {case.name: case for case in make_cases()}


@pytest.fixture(scope="module", params=["names", "types"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Case, list[dict[str, Any]]]:
    """A list and the rows that a real run over a real server makes of it."""
    case = CASES[request.param]
    with serving() as base_url:
        config = write_job(tmp_path_factory.mktemp("loaders") / case.name, case, base_url)
        run(config, "report.html=false")
    return case, [json.loads(line, parse_constant=_refuse) for line in _lines(config.parent / "out")]


def _lines(output: Path) -> list[str]:
    return (output / "metadata.jsonl").read_text(encoding="utf-8").removesuffix("\n").split("\n")


def _refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def test_every_value_is_as_listed(made: tuple[Case, list[dict[str, Any]]]) -> None:
    case, rows = made
    expected = {"columns": case.expected, "pictures": list(case.pictures)}

    assert [] == differences(expected, rows)


def test_rows_are_alike_and_no_name_is_mistaken(made: tuple[Case, list[dict[str, Any]]]) -> None:
    _, rows = made
    names = list(rows[0])

    assert [names] * len(rows) == [list(row) for row in rows]
    assert len(names) == len({name.lower() for name in names})
    assert ["file_name"] == [name for name in names if name.endswith(("file_name", "file_names"))]
    assert not {"image", ""} & {*names}
