"""README.md in the output says which files are the data set, and never takes the place of the user's own."""

import re
from pathlib import Path

import pytest

from batchproc.errors import DiskError
from batchproc.kinds import kind_of
from batchproc.sink import Column, write_data_card
from batchproc.sink.data_card import Contents, files_of_images, licence_column, tar_shards

COLUMNS = [Column(name="file_name", type="text"), Column(name="url", type="text")]
CONTENTS = Contents(images=1, size_bytes=15_000)


@pytest.fixture
def metadata(tmp_path: Path) -> Path:
    path = tmp_path / "metadata.jsonl"
    path.write_text("{}\n")
    return path


def card(metadata: Path, columns: list[Column] | None = None) -> str:
    path = metadata.with_name("README.md")
    assert write_data_card(path, COLUMNS if columns is None else columns, files_of_images(metadata, {}), CONTENTS)
    return path.read_text(encoding="utf-8")


def test_the_head_names_the_files_of_the_data_set(metadata: Path) -> None:
    head = card(metadata).split("---\n")[1]

    assert re.match(r"# batchproc [0-9a-f]{32}: ", head)
    assert ["metadata.jsonl", "images/**"] == re.findall(r"    - (\S+)", head)
    assert "features" not in head


def test_a_large_data_set_tells_its_types(metadata: Path) -> None:
    metadata.write_bytes(b"x" * (9 << 20))
    nested = {"a": "long", "b": [{"c": "bool"}]}
    listed = {"n": [["float"]], "ü\u0085": nested}
    columns = [*COLUMNS, *(Column(name=name, type=known, own=name) for name, known in listed.items())]

    head = card(metadata, columns).split("---\n")[1]

    assert (
        'features: [{"name": "image", "dtype": "image"}, {"name": "url", "dtype": "string"}, '
        '{"name": "n", "list": {"list": "float64"}}, {"name": "ü\\u0085", "struct": [{"name": "a", "dtype": "int64"}, '
        '{"name": "b", "list": [{"name": "c", "dtype": "bool"}]}]}]'
    ) in head


def test_columns_under_another_name_are_listed(metadata: Path) -> None:
    listed = {"a|b": "list_a|b", "c": "c"}
    columns = [*COLUMNS, *(Column(name=name, type="text", own=own) for own, name in listed.items())]

    assert card(metadata, columns).endswith("| in the list | here |\n|---|---|\n| `a\\|b` | `list_a\\|b` |\n")


def test_our_own_is_written_anew_and_stays_when_nothing_changed(metadata: Path) -> None:
    first = card(metadata)
    path = metadata.with_name("README.md")
    before = path.stat()

    assert first == card(metadata)
    assert before.st_mtime_ns == path.stat().st_mtime_ns
    assert first != card(metadata, [*COLUMNS, Column(name="list_x", type="text", own="x")])


@pytest.mark.parametrize("kind", ["own", "edited", "empty", "binary", "link", "folder"])
def test_a_file_of_the_user_s_own_stays(metadata: Path, kind: str) -> None:
    path = metadata.with_name("README.md")
    ours = card(metadata)
    path.unlink()
    edited = f"{ours}More.\n".encode()
    contents = {"own": b"# My pictures\n", "edited": edited, "empty": b"", "binary": b"---\n\xff\xfe"}
    if kind == "link":
        path.symlink_to(metadata.with_name("gone.md"))
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(contents[kind])

    is_described = write_data_card(path, COLUMNS, files_of_images(metadata, {}), CONTENTS)

    assert (kind == "edited") == is_described  # which still names the data set
    assert kind not in contents or contents[kind] == path.read_bytes()
    assert kind != "link" or path.is_symlink()


def test_a_folder_that_cannot_be_written_is_a_disk_error(metadata: Path) -> None:
    with pytest.raises(DiskError, match=r"README\.md: cannot be written"):
        write_data_card(metadata.with_name("gone") / "README.md", COLUMNS, files_of_images(metadata, {}), CONTENTS)


def test_shards_tell_the_types_of_all_their_samples(metadata: Path) -> None:
    path = metadata.with_name("README.md")
    write_data_card(path, COLUMNS, tar_shards("jpg", has_caption=True), CONTENTS)

    head = path.read_text().split("---\n")[1]
    assert ["shards/*.tar"] == re.findall(r"    - (\S+)", head)
    assert (
        'dataset_info:\n  features: [{"name": "jpg", "dtype": "image"}, {"name": "json", "struct": '
        '[{"name": "file_name", "dtype": "string"}, {"name": "url", "dtype": "string"}]}, '
        '{"name": "txt", "dtype": "string"}, {"name": "__key__", "dtype": "string"}'
    ) in head


def test_shards_of_images_in_several_formats_tell_no_types(metadata: Path) -> None:
    path = metadata.with_name("README.md")
    write_data_card(path, COLUMNS, tar_shards("", has_caption=False), CONTENTS)

    assert "features" not in path.read_text()


@pytest.mark.parametrize(
    ("images", "category"),
    [(0, "n<1K"), (999, "n<1K"), (1_000, "1K<n<10K"), (1_234_567, "1M<n<10M"), (10**11, "n>10B")],
)
def test_the_head_has_the_hubs_word_for_the_number_of_images(metadata: Path, images: int, category: str) -> None:
    path = metadata.with_name("README.md")
    write_data_card(path, COLUMNS, files_of_images(metadata, {}), Contents(images=images, size_bytes=0))

    assert f"size_categories:\n- {category}\n" in path.read_text()


def test_the_figures_of_the_images_are_told(metadata: Path) -> None:
    path = metadata.with_name("README.md")
    contents = Contents(
        images=1_234, size_bytes=15_000_000, shards=2, left={"http.404": 5}, licence_column="license",
        licences=[("CC BY|4.0", 1_200), ("", 34)],
    )  # fmt: skip
    write_data_card(path, COLUMNS, tar_shards("jpg", has_caption=False), contents)

    told = path.read_text()
    assert "1,234 images in 2 shards, 15.0 MB.\n" in told
    assert "| `http.404` | 5 | " in told
    assert "the list's column `license` tells" in told
    assert "| `CC BY\\|4.0` | 1,200 |\n| none | 34 |\n" in told


def test_the_column_of_licences_is_known_by_its_name() -> None:
    assert ("License", "") == (licence_column(["a", "License"]), licence_column(["a", "licensed"]))


def test_splits_have_their_rows_in_files_of_their_own(metadata: Path) -> None:
    path = metadata.with_name("README.md")
    names = {"train": "metadata-train.jsonl", "test": "metadata-test.jsonl"}
    write_data_card(path, COLUMNS, files_of_images(metadata, names), CONTENTS)

    assert (
        "  - split: train\n    path:\n    - metadata-train.jsonl\n    - images/**\n"
        "  - split: test\n    path:\n    - metadata-test.jsonl\n    - images/**\n"
        '  metadata_filenames: ["metadata-train.jsonl", "metadata-test.jsonl"]\n'
    ) in path.read_text()


def test_sources_sizes_and_settings_are_told(tmp_path: Path) -> None:
    contents = Contents(
        images=10, size_bytes=1000, left={"http.404": 3}, hosts=[("a.example", 6), ("", 1)], hosts_total=4,
        sides=[("256 to 383 px", 10), ("384 to 511 px", 0)], settings='[output]\nformat = "jpeg"\n',
        pictures=["thumbnails/0.jpg", "thumbnails/1.jpg"],
    )  # fmt: skip
    write_data_card(tmp_path / "README.md", COLUMNS, tar_shards("jpg", has_caption=False), contents)
    text = (tmp_path / "README.md").read_text()

    assert "![](thumbnails/0.jpg) ![](thumbnails/1.jpg)\n" in text
    assert f"| `http.404` | 3 | {kind_of('http.404').meaning} |\n" in text
    table = "| host | images |\n|---|---|\n| `a.example` | 6 |\n| files | 1 |\n| 2 others | 3 |\n"
    assert f"Sources, 4 in all:\n\n{table}" in text
    assert "| px | images |\n|---|---|\n| 256 to 383 | 10 |\n" in text
    assert text.endswith('```toml\n[output]\nformat = "jpeg"\n```\n')


@pytest.mark.extra
def test_the_hub_s_library_reads_the_head(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="the Hub's library is not installed")
    contents = Contents(images=1234, size_bytes=1000, hosts=[("a.example", 1234)], hosts_total=1)
    write_data_card(tmp_path / "README.md", COLUMNS, tar_shards("jpg", has_caption=True), contents)
    data = hub.DatasetCard.load(tmp_path / "README.md").data

    assert [{"split": "train", "path": ["shards/*.tar"]}] == data.configs[0]["data_files"]
    assert ["1K<n<10K"] == data.size_categories
    assert tmp_path.name == data.pretty_name
