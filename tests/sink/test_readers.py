"""What people load data sets with reads all three layouts, with awkward columns. Their versions are pinned in
tests/campaign/loaders/requirements.txt; a reader that is not installed is skipped."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.pipeline.site import PATHS, Site, serving
from tests.pipeline.test_modes import run
from tests.pipeline.test_shard_maker import manifest

pyarrow = pytest.importorskip("pyarrow", reason="the extra [parquet] is not installed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the readers, among themselves

CAPTIONS = ["eine Möwe 🕊", None, "two\nlines"]
ROWS = [
    {"cap.tion": CAPTIONS[0], "n": 1, "late": None, "tags": [], "nested": {"a": None}, "width": 7, "image": "x"},
    {"cap.tion": CAPTIONS[1], "n": 1.5, "late": None, "tags": ["ü"], "nested": None, "width": 8, "image": "y"},
    {"cap.tion": CAPTIONS[2], "n": None, "late": "here", "tags": None, "nested": {"a": 2}, "width": 9, "image": "z"},
]
CONFIG = """
[job]
name = "readers"
input = "list.jsonl"
output = "{layout}"
base_url = "{url}"
[download]
mode = "serial"
allow_addresses = ["127.0.0.0/8"]
[transform]
mode = "serial"
[output]
layout = "{layout}"
shard_items = 2
caption = "cap.tion"
metadata_parquet = true
[report]
html = false
sampling = false
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set in each layout, in a folder of that name."""
    folder = tmp_path_factory.mktemp("readers")
    lines = [json.dumps({"url": path, **row}) for path, row in zip(PATHS, ROWS, strict=True)]
    (folder / "list.jsonl").write_text("\n".join(lines))
    with serving(Site()) as site:
        for layout in ("files", "webdataset", "parquet"):
            (folder / f"{layout}.toml").write_text(CONFIG.format(layout=layout, url=site.url))
            run(folder / f"{layout}.toml")
        run(folder / "files.toml", "output.splits={train = 0.5, test = 0.5}", 'job.output="split"')
    return folder


def names(output: Path) -> list[str]:
    return [str(output / shard["name"]) for shard in manifest(output)["shards"]]


def assert_rows(rows: list[dict[str, Any]]) -> None:
    """Every value is as it was listed, in the list's order."""
    assert CAPTIONS == [row["text"] for row in rows]
    assert [1.0, 1.5, None] == [row["n"] for row in rows]
    assert [None, None, "here"] == [row["late"] for row in rows]
    assert [[], ["ü"], None] == [None if row["tags"] is None else [*row["tags"]] for row in rows]
    assert [7, 8, 9] == [row["list_width"] for row in rows]
    assert ["x", "y", "z"] == [row["list_image"] for row in rows]


@pytest.fixture
def datasets(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return pytest.importorskip("datasets", reason="see tests/campaign/loaders/requirements.txt")


@pytest.mark.parametrize("streaming", [False, True], ids=["loaded", "streaming"])
def test_datasets_loads_parquet_shards_as_images(
    folder: Path, datasets: Any, streaming: bool, tmp_path: Path
) -> None:
    rows = list(
        datasets.load_dataset(
            str(folder / "parquet"), split="train", streaming=streaming, cache_dir=str(tmp_path)
        )
    )

    assert_rows(rows)
    assert {(100, 100)} == {row["image"].size for row in rows}


def test_datasets_streams_tar_shards_with_the_types_of_all_columns(folder: Path, datasets: Any) -> None:
    rows = list(datasets.load_dataset(str(folder / "webdataset"), split="train", streaming=True))

    assert_rows([row["json"] for row in rows])
    assert [caption or "" for caption in CAPTIONS] == [row["txt"] for row in rows]
    assert {(100, 100)} == {row["jpg"].size for row in rows}


def test_datasets_loads_files_as_an_imagefolder(folder: Path, datasets: Any, tmp_path: Path) -> None:
    rows = list(datasets.load_dataset(str(folder / "files"), split="train", cache_dir=str(tmp_path)))

    assert_rows(rows)
    assert {(100, 100)} == {row["image"].size for row in rows}


def test_datasets_loads_the_splits_of_files(folder: Path, datasets: Any, tmp_path: Path) -> None:
    loaded = datasets.load_dataset(str(folder / "split"), cache_dir=str(tmp_path))

    lines = {
        split: (folder / f"split/metadata-{split}.jsonl").read_text().splitlines() for split in ("train", "test")
    }
    assert {split: [json.loads(line)["url"] for line in lines[split]] for split in lines} == {
        split: list(loaded[split]["url"]) for split in loaded
    }
    assert len(ROWS) == sum(map(len, lines.values()))
    assert {(100, 100)} == {row["image"].size for split in loaded for row in loaded[split]}


def test_webdataset_reads_tar_shards(folder: Path) -> None:
    webdataset = pytest.importorskip("webdataset", reason="see tests/campaign/loaders/requirements.txt")

    rows = list(webdataset.WebDataset(names(folder / "webdataset"), shardshuffle=False).decode("pil"))

    assert_rows([row["json"] for row in rows])
    assert [caption or "" for caption in CAPTIONS] == [row["txt"] for row in rows]
    assert {(100, 100)} == {row["jpg"].size for row in rows}


def test_polars_reads_parquet_shards_and_rows(folder: Path) -> None:
    polars = pytest.importorskip("polars", reason="see tests/campaign/loaders/requirements.txt")

    assert_rows(polars.read_parquet(names(folder / "parquet")).to_dicts())
    assert_rows(polars.read_parquet(folder / "files/metadata.parquet").to_dicts())


def test_duckdb_reads_parquet_shards_and_rows(folder: Path) -> None:
    duckdb = pytest.importorskip("duckdb", reason="see tests/campaign/loaders/requirements.txt")

    for paths in (names(folder / "parquet"), [str(folder / "files/metadata.parquet")]):
        assert_rows(duckdb.sql(f"SELECT * FROM read_parquet({paths})").to_arrow_table().to_pylist())


def test_pandas_reads_parquet_shards(folder: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="see tests/campaign/loaders/requirements.txt")

    table = pandas.concat(map(pandas.read_parquet, names(folder / "parquet")))

    assert [CAPTIONS[0], CAPTIONS[2]] == table["text"].dropna().to_list()
    assert [1.0, 1.5] == table["n"].dropna().to_list()
    assert all(image["bytes"].startswith(b"\xff\xd8") for image in table["image"])
