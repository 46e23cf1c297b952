"""`check` and `--dry-run` end as `run` would before any work, in the same words, and touch nothing."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.jobs import MakeJob
from tests.test_cli import call  # noqa: F401 - a fixture

from .test_modes import run


def without_list(folder: Path, config: Path) -> None:
    (folder / "list.txt").unlink()


def without_column(folder: Path, config: Path) -> None:
    (folder / "list.csv").write_text("link\nhttp://a.example/1\n")
    config.write_text(config.read_text().replace("list.txt", "list.csv"))


def with_a_file_for_a_folder(folder: Path, config: Path) -> None:
    (folder / "out").write_text("mine")


def with_a_link_for_a_folder(folder: Path, config: Path) -> None:
    (folder / "out").mkdir()
    (folder / "out/.tmp").symlink_to(folder)


def with_another_plan(folder: Path, config: Path) -> None:
    run(config)
    config.write_text(config.read_text().replace("[128, 128]", "[64, 64]"))


def without_its_ledger(folder: Path, config: Path) -> None:
    run(config)
    (folder / "out/batchproc.db").unlink()


@pytest.mark.parametrize(
    "spoil",
    [without_list, without_column, with_a_file_for_a_folder, with_a_link_for_a_folder, with_another_plan,
     without_its_ledger],
    ids=lambda spoil: spoil.__name__,
)  # fmt: skip
def test_what_a_run_refuses_is_found_before(
    make_job: MakeJob, tmp_path: Path, spoil: Callable[[Path, Path], None], call: Callable[..., tuple[int, str, str]]  # noqa: F811
) -> None:
    config = make_job(images=2)
    spoil(tmp_path, config)
    before = sorted(tmp_path.rglob("*"))

    checked, _, why_checked = call("check", str(config))
    previewed, _, why_previewed = call("run", str(config), "--dry-run")
    after = sorted(tmp_path.rglob("*"))
    refused, _, why_refused = call("run", str(config))

    assert (refused, why_refused) == (checked, why_checked)
    assert (refused, why_refused) == (previewed, why_previewed)
    assert refused in (2, 5)
    assert before == after


def test_a_changed_plan_that_is_accepted_passes_the_preview(
    make_job: MakeJob, tmp_path: Path, call: Callable[..., tuple[int, str, str]]  # noqa: F811
) -> None:
    config = make_job(images=2)
    with_another_plan(tmp_path, config)

    assert 0 == call("run", str(config), "--dry-run", "--accept-config-change")[0]
