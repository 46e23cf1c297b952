"""A list's columns in metadata.jsonl: every row has all of them, under names that no loader mistakes."""

import json
from typing import Any

import pytest

from batchproc.columns import Columns
from batchproc.ledger.reader import FACTS, LATE_FACTS, name_columns
from batchproc.ledger.rebuilding import read_made
from batchproc.model import ListedItem
from batchproc.sink import read_manifest
from tests.ledger.job import NOW, Job, listed, urls


@pytest.mark.parametrize(
    ("columns", "names"),
    [
        (["caption", "label", "images", "split", "a.b", "__key__"], None),
        (["width"], ["list_width"]),
        (["image"], ["list_image"]),
        (["file_name"], ["list_file_name_"]),
        (["file_names"], ["list_file_names_"]),
        (["original_file_name", "x_file_names"], ["list_original_file_name_", "list_x_file_names_"]),
        (["URL", "Image", "My_File_Name"], ["list_URL", "list_Image", "list_My_File_Name_"]),
        (["", " "], ["list_", "list_ "]),
        (["Caption", "caption", "CAPTION"], ["Caption", "caption_2", "CAPTION_3"]),
        (["width", "list_width", "list_width_2"], ["list_width_3", "list_width", "list_width_2"]),
        (["image_notes", "image_recipe", "recipe"], ["list_image_notes", "list_image_recipe", "recipe"]),
    ],
)
def test_columns_have_names_that_no_loader_takes_for_something_else(
    columns: list[str], names: list[str] | None
) -> None:
    assert dict(zip(columns, names or columns, strict=True)) == name_columns(columns)


def test_names_are_unlike_each_other_and_our_own_whatever_their_case() -> None:
    columns = [*FACTS, *(name.upper() for name in FACTS), "list_url", "LIST_URL_2", "list_file_name_", "image", ""]

    names = [name.lower() for name in name_columns(columns).values()]

    assert len(columns) == len({*names})
    assert not {*names} & {*FACTS, "image"}
    assert not [name for name in names if name.endswith(("file_name", "file_names"))]


def make(job: Job, rows: list[dict[str, Any]], *, limit: int = 100) -> list[dict[str, Any]]:
    """Imports a list with these columns, makes up to `limit` images, and returns the rows of metadata.jsonl."""
    items = [listed(url, extra_json=json.dumps(row)) for url, row in zip(urls(99), rows, strict=False)]
    columns = Columns()
    for line, row in enumerate(rows):
        columns.observe(row, line)
    with job.open() as ledger:
        ledger.recover()
        ledger.adopt_plan("plan-one")
        ledger.import_sources(items, columns=columns)
        ledger.begin_run("run", NOW)
        for source in ledger.pending(limit):
            ledger.record(job.rendition(source))
        job.end(ledger)
    return own_columns(job)


def own_columns(job: Job) -> list[dict[str, Any]]:
    rows = [row for row in read_manifest(job.layout.metadata_path) if row is not None]
    return [{name: value for name, value in row.items() if name not in (*FACTS, *LATE_FACTS)} for row in rows]


def test_every_row_has_every_column_in_one_type(job: Job) -> None:
    rows = make(job, [{"id": 7}, {"id": "7b", "late": 1}, {"late": 1.5, "file_name": "x"}, {"tags": ["a"]}])

    assert [
        {"id": "7", "late": None, "list_file_name_": None, "tags": None},
        {"id": "7b", "late": 1.0, "list_file_name_": None, "tags": None},
        {"id": None, "late": 1.5, "list_file_name_": "x", "tags": None},
        {"id": None, "late": None, "list_file_name_": None, "tags": ["a"]},
    ] == rows


def test_types_are_decided_by_the_whole_list_and_not_by_what_is_done(job: Job) -> None:
    assert [{"n": "1"}] == make(job, [{"n": 1}, {"n": "x"}], limit=1)


def test_a_later_list_with_other_types_makes_all_rows_anew(job: Job) -> None:
    assert [{"n": 1}] == make(job, [{"n": 1}])

    assert [{"n": "1", "m": None}, {"n": "x", "m": 2}] == make(job, [{"n": 1}, {"n": "x", "m": 2}])


def test_columns_that_the_reader_did_not_tell_are_learned_from_the_items(job: Job) -> None:
    with job.open() as ledger:
        ledger.import_sources([ListedItem(key=b"k" * 16, line=1, url="u", extra_json='{"n": 1}')])

        assert {"n": "int"} == ledger.columns().types


def test_a_row_that_is_read_back_has_the_list_s_own_names(job: Job) -> None:
    columns = {"width": "5", "caption": "x", "a_file_name": "y"}
    make(job, [columns])
    (row,) = read_manifest(job.layout.metadata_path)

    made = read_made(row, job.images.file_name, name_columns(columns))

    assert made is not None
    assert columns == json.loads(made.extra_json)
