"""The pictures on a data card: few, of images that are there, and the same from run to run."""

from pathlib import Path

from batchproc.sink.data_card import MOST_PICTURES, keep_pictures, named_in

KEYS = [f"{number:032x}" for number in range(20)]


def gallery(folder: Path, keys: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for key in keys:
        (folder / f"{key}-after.jpg").write_bytes(b"after " + key.encode())
        (folder / f"{key}-before.jpg").write_bytes(b"before")
    return folder


def paths(keys: list[str]) -> list[str]:
    return [f"thumbnails/{key}.jpg" for key in keys]


def test_a_few_of_the_run_s_pictures_are_copied(tmp_path: Path) -> None:
    assert paths(KEYS[:MOST_PICTURES]) == keep_pictures(tmp_path, gallery(tmp_path / "g", KEYS), set)
    assert [b"after " + key.encode() for key in KEYS[:MOST_PICTURES]] == [
        path.read_bytes() for path in sorted((tmp_path / "thumbnails").iterdir())
    ]


def test_pictures_stay_from_run_to_run_until_their_images_go(tmp_path: Path) -> None:
    keep_pictures(tmp_path, gallery(tmp_path / "g", KEYS[10:]), set)
    later = gallery(tmp_path / "h", KEYS[:10])

    assert paths(KEYS[10 : 10 + MOST_PICTURES]) == keep_pictures(tmp_path, later, set)
    kept = keep_pictures(tmp_path, later, lambda keys: {*keys} - {KEYS[10]})
    assert paths([KEYS[0], *KEYS[11 : 10 + MOST_PICTURES]]) == kept
    assert MOST_PICTURES == len([*(tmp_path / "thumbnails").iterdir()])


def test_a_run_without_pictures_keeps_those_there_are(tmp_path: Path) -> None:
    assert [] == keep_pictures(tmp_path, tmp_path / "none", set)
    keep_pictures(tmp_path, gallery(tmp_path / "g", KEYS[:2]), set)

    assert paths(KEYS[:2]) == keep_pictures(tmp_path, tmp_path / "none", set)


def test_what_somebody_else_put_there_stays(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    (tmp_path / "thumbnails/mine.jpg").write_bytes(b"mine")

    assert [] == keep_pictures(tmp_path, tmp_path / "none", set)
    assert b"mine" == (tmp_path / "thumbnails/mine.jpg").read_bytes()


def test_a_card_tells_its_pictures() -> None:
    assert {*paths(KEYS[:2])} == named_in(" ".join(f"![]({path})" for path in paths(KEYS[:2])).encode())
