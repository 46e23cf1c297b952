"""Which URLs there are and which misbehave."""

from collections import Counter
from pathlib import Path

import pytest

from batchproc.errors import UsageError
from batchproc.origin.site import (
    KINDS_OF_40,
    Fault,
    Form,
    OriginSettings,
    check_settings,
    demo_list,
    demo_paths,
    kinds,
    listing,
)

REPOSITORY = Path(__file__).parents[2]


def test_the_list_of_the_demo_is_what_the_origin_serves() -> None:
    text = (REPOSITORY / "inputs" / "demo.txt").read_text(encoding="utf-8")

    assert text == demo_list(240)
    assert [line for line in text.splitlines() if not line.startswith("#")] == demo_paths(240)


def test_every_forty_pictures_hold_every_kind_and_orientation() -> None:
    made = kinds(80, 1)

    assert Counter(KINDS_OF_40) == Counter(made[:40]) == Counter(made[40:])
    assert set(Form) == set(made)
    assert set(range(1, 9)) == {kind.orientation for kind in made}


def test_a_shorter_list_is_the_beginning_of_a_longer_one() -> None:
    assert demo_paths(240)[:7] == demo_paths(7)


def test_another_seed_has_another_list() -> None:
    assert demo_paths(240, 1) != demo_paths(240, 2)


def test_the_demo_has_one_turn_of_the_faults() -> None:
    faults = Counter(entry.fault for entry in listing(OriginSettings()) if entry.fault)

    assert {
        Fault.NOT_FOUND: 3,
        Fault.TRUNCATED: 2,
        Fault.HTML: 2,
        Fault.SLOW: 2,
        Fault.UNAVAILABLE: 2,
        Fault.CORRUPT: 1,
    } == faults


@pytest.mark.parametrize(
    ("faults", "expected"),
    [(False, 0), (True, 5), (0.5, 50), (1.0, 100), (None, 5)],
    ids=["off", "on", "half", "all", "default"],
)
def test_the_share_of_faults_is_what_was_asked_for(faults: bool | float | None, expected: int) -> None:
    entries = listing(OriginSettings(images=100, faults=faults))

    assert expected == sum(entry.fault is not None for entry in entries)


def test_the_users_own_pictures_behave_unless_asked_otherwise(tmp_path: Path) -> None:
    for name in ("b c.JPG", "a.png", "notes.txt", "ü.webp"):
        (tmp_path / name).write_bytes(b"x")

    entries = listing(OriginSettings(photos=str(tmp_path)))

    assert ["/a.png", "/b%20c.JPG", "/%C3%BC.webp"] == [entry.path for entry in entries]
    assert {None} == {entry.fault for entry in entries}


def test_a_folder_without_pictures_is_a_usage_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no picture")

    with pytest.raises(UsageError, match="holds no file named"):
        listing(OriginSettings(photos=str(tmp_path)))


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(UsageError) as caught:
        check_settings(OriginSettings(images=0, jitter=-1, port=70000, photos="/no/such/folder", faults=2))

    assert {
        "[origin] images = 0",
        "[origin] jitter = -1",
        "[origin] faults = 2",
        "[origin] port = 70000",
        '[origin] photos = "/no/such/folder"',
    } == {problem.where for problem in caught.value.problems}
