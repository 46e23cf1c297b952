"""Images in place of lists: what the names of a job's input mean, and how the images are known."""

import os
from pathlib import Path

import pytest

from batchproc.errors import UsageError
from batchproc.model import ListedItem
from batchproc.sources import find_sources, list_images
from batchproc.sources.finding import folder_of, may_mean_images
from tests.sources.conftest import good_of


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A folder of images with one below it, a folder of both, and one of folders."""
    for name in ("photos/b.JPG", "photos/a.png", "photos/notes.md", "photos/more/c.webp", "both/a.jpg", "both/a.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("expected", "names"),
    [
        pytest.param(["photos/a.png", "photos/b.JPG"], ["photos/"], id="folder"),
        pytest.param(["photos/a.png"], ["photos/*.png"], id="pattern"),
        pytest.param(["photos/a.png", "photos/b.JPG", "photos/more/c.webp"], ["photos/**/*"], id="below"),
        pytest.param(["photos/b.JPG", "photos/a.png"], ["photos/b.JPG", "photos"], id="each-once"),
        pytest.param(["both/a.jpg"], ["both/*.jpg"], id="of-both"),
        pytest.param(["no-such.jpg"], ["no-such.jpg"], id="missing"),
    ],
)
def test_images_are_found_by_folder_pattern_and_name(tree: Path, expected: list[str], names: list[str]) -> None:
    found = find_sources([str(tree / name) for name in names])

    assert expected == [str(Path(path).relative_to(tree)) for path in found.images]
    assert () == found.lists


@pytest.mark.parametrize(
    ("says", "names"),
    [
        pytest.param(r"means lists \(a.txt\) and images \(a.jpg\)", ["both"], id="folder-of-both"),
        pytest.param(r"means lists \(a.txt\) and images \(a.png\)", ["photos", "both/*.txt"], id="names-of-both"),
        pytest.param(r'no image is in it; input = ".*/\*\*/\*.jpg" takes in the folders below', [""], id="below"),
        pytest.param("no file matches", ["photos/*.gif"], id="no-match"),
    ],
)
def test_what_means_both_or_nothing_is_refused(tree: Path, says: str, names: list[str]) -> None:
    with pytest.raises(UsageError, match=says):
        find_sources([str(tree / name) for name in names])


def test_an_image_below_the_root_is_known_by_its_path_from_there(tmp_path: Path) -> None:
    name = os.fsdecode(b"a b#?%:\xff.jpg")

    def listed(root: str) -> list[ListedItem]:
        folder = tmp_path / root
        entries = list_images([str(folder / name), "/elsewhere/x.jpg"], folder)
        return good_of(entries)

    first, second = listed("one"), listed("two")

    assert [f"file://{tmp_path}/one/a%20b%23%3F%25%3A%FF.jpg", "file:///elsewhere/x.jpg"] == [
        each.url for each in first
    ]
    assert [each.key for each in first] == [each.key for each in second]


@pytest.mark.parametrize("name", ["photos", "photos/*.jpg", "photos/**/*", "photos/a.png"])
def test_images_are_read_from_their_own_folder_alone(tree: Path, name: str) -> None:
    assert may_mean_images(str(tree / name))
    assert str(tree / "photos") == folder_of(str(tree / name))


@pytest.mark.parametrize("name", ["-", "list", "list.csv", "/dev/fd/63"])
def test_a_list_names_no_folder_of_images(tree: Path, name: str) -> None:
    assert not may_mean_images(str(tree / name))
