"""The pictures kept between runs: read where they are right, drawn where they are not, and never too many."""

import os
import threading
from pathlib import Path

import pytest

from batchproc.origin import pictures as cache
from batchproc.origin.pictures import cache_path, load_pictures

SEED = 3
DRAWN = [b"first", b"", b"third" * 1000]


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[int, int]]:
    """An empty cache, and what was drawn since: the pictures are stood in for by a few bytes."""
    calls: list[tuple[int, int]] = []

    def draw(images: int, seed: int) -> list[bytes]:
        calls.append((images, seed))
        return DRAWN[:images]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(cache, "make_pictures", draw)
    return calls


def kept() -> Path:
    path = cache_path(3, SEED)
    assert path is not None
    return path


def test_the_second_run_draws_nothing(drawings: list[tuple[int, int]], tmp_path: Path) -> None:
    first, second = load_pictures(3, SEED), load_pictures(3, SEED)

    assert (DRAWN, DRAWN) == (first, second)
    assert [(3, SEED)] == drawings
    assert tmp_path / "cache/batchproc" == kept().parent
    assert {kept().name, "lock"} == {path.name for path in kept().parent.iterdir()}


def test_another_seed_or_number_is_drawn_by_itself(drawings: list[tuple[int, int]]) -> None:
    for images, seed in ((3, SEED), (2, SEED), (3, SEED + 1)):
        load_pictures(images, seed)

    assert [(3, SEED), (2, SEED), (3, SEED + 1)] == drawings


def test_pictures_of_another_pillow_are_not_taken(
    drawings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_pictures(3, SEED)
    monkeypatch.setattr("PIL.features.version", lambda _: "0.1")

    load_pictures(3, SEED)

    assert 2 == len(drawings)


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-7] ^= 1
    path.write_bytes(content)


def link_elsewhere(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


def put_a_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(flip_a_byte, id="damaged"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes()[:-1]), id="cut-short"),
        pytest.param(lambda path: path.write_bytes(path.read_bytes() + b"x"), id="too-long"),
        pytest.param(lambda path: path.write_bytes(b""), id="empty"),
        pytest.param(lambda path: path.write_bytes(b'{"sizes": [9, -1, "x"], "digest": ""}\n'), id="false-head"),
        pytest.param(lambda path: path.write_bytes(b'{"sizes": [9%b]}\n' % (b"9" * 15)), id="endless-head"),
        pytest.param(lambda path: path.write_bytes(b"[" * 99_000 + b"\n"), id="deep-head"),
        pytest.param(lambda path: path.write_bytes(b"\xff\xd8\xff" * 50_000), id="foreign"),
        pytest.param(link_elsewhere, id="link"),
        pytest.param(put_a_pipe, id="pipe"),
    ],
)
def test_what_is_no_whole_file_of_ours_is_made_again(damage: object, drawings: list[tuple[int, int]]) -> None:
    load_pictures(3, SEED)
    assert callable(damage)
    damage(kept())

    again, then = load_pictures(3, SEED), load_pictures(3, SEED)

    assert (DRAWN, DRAWN) == (again, then)
    assert 2 == len(drawings)


@pytest.mark.parametrize("home", ["/proc/nowhere", "file"])
def test_it_works_where_nothing_can_be_kept(
    home: str, drawings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / home))

    assert DRAWN == load_pictures(3, SEED)


def test_it_works_without_a_home(drawings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setenv("XDG_CACHE_HOME", "relative/is/ignored")
    monkeypatch.setattr(Path, "home", no_home)

    assert cache_path(3, SEED) is None
    assert DRAWN == load_pictures(3, SEED)


def test_the_oldest_goes_when_there_is_too_much(
    drawings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    load_pictures(3, SEED)
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", kept().stat().st_size * 2)
    others = [kept().with_name(f"{number}{cache.SUFFIX}") for number in range(2)]
    for age, path in enumerate(others):
        path.write_bytes(kept().read_bytes())
        os.utime(path, (1000 - age, 1000 - age))
    abandoned = kept().with_name(f"x{cache.TEMPORARY_SUFFIX}")
    abandoned.touch()
    os.utime(abandoned, (1000, 1000))

    load_pictures(3, SEED + 1)

    assert [False, False, False] == [path.exists() for path in (*others, abandoned)]
    assert kept().exists()


def test_what_is_larger_than_the_cache_is_not_kept(
    drawings: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache, "MAX_CACHE_BYTES", 100)

    assert DRAWN == load_pictures(3, SEED)
    assert not kept().exists()


def test_of_several_at_once_one_draws(drawings: list[tuple[int, int]]) -> None:
    found: list[list[bytes]] = []
    threads = [threading.Thread(target=lambda: found.append(load_pictures(3, SEED))) for _ in range(4)]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [DRAWN] * 4 == found
    assert 1 == len(drawings)
