"""The folder of a job: prepared, refused with every reason, and kept in order."""

import errno
import os
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from batchproc.errors import ExitCode, UsageError
from batchproc.sink import ImageFolder, Layout
from batchproc.sink import layout as preflight_module
from batchproc.sink.layout import network_file_system
from batchproc.transform.encode import write_temporary
from tests.campaign.nightly_job import small_disk

NOW = datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    layout = Layout(output=tmp_path / "outputs" / "demo")
    layout.prepare()
    return layout


def test_prepare_makes_the_folders_and_leaves_no_trace_of_its_tests(layout: Layout) -> None:
    layout.prepare()

    assert [".tmp", "images", "runs"] == sorted(path.name for path in layout.output.iterdir())
    assert [] == [path for path in layout.output.rglob("*") if path.is_file()]


@pytest.mark.parametrize("place", ["outputs/demo", "outputs"])
def test_an_output_that_is_a_file_is_refused_untouched(tmp_path: Path, place: str) -> None:
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"mine")

    with pytest.raises(UsageError, match=rf"\[job\] output: {path} is not a folder") as caught:
        Layout(output=tmp_path / "outputs" / "demo").prepare()
    assert ExitCode.USAGE == caught.value.exit_code
    assert b"mine" == path.read_bytes()


@pytest.mark.parametrize("method", ["prepare", "check"])
def test_an_output_that_cannot_be_looked_for_is_refused(tmp_path: Path, method: str) -> None:
    layout = Layout(output=tmp_path / ("x" * 300))

    with pytest.raises(UsageError, match=f"x cannot be used: {os.strerror(errno.ENAMETOOLONG)}"):
        getattr(layout, method)()


def test_every_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    output.mkdir()
    (output / "images").write_bytes(b"")
    (output / "runs").write_bytes(b"")

    with pytest.raises(UsageError) as caught:
        Layout(output=output).prepare()
    assert [f"{output}/images cannot be written: File exists.", f"{output}/runs cannot be written: File exists."] == [
        problem.message for problem in caught.value.problems
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_output_is_refused(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    output.mkdir(mode=0o555)

    with pytest.raises(UsageError, match="Permission denied"):
        Layout(output=output).prepare()


def test_an_output_that_cannot_be_written_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(dir: Path) -> None:
        raise PermissionError(errno.EACCES, "no", str(dir))

    monkeypatch.setattr(preflight_module.tempfile, "TemporaryFile", refuse)
    with pytest.raises(UsageError) as caught:
        Layout(output=tmp_path / "out").prepare()

    assert [f"[job] output: {tmp_path / 'out'} cannot be written: Permission denied."] == [
        str(problem) for problem in caught.value.problems
    ]


@pytest.mark.parametrize("kind", ["a folder", "a file"])
@pytest.mark.parametrize("name", ["latest", "report.html"])
def test_what_stands_where_a_link_belongs_is_told_before_anything_is_done(
    layout: Layout, name: str, kind: str
) -> None:
    layout.output.mkdir(parents=True, exist_ok=True)
    path = layout.output / name
    path.mkdir() if kind == "a folder" else path.write_text("mine")

    with pytest.raises(UsageError, match=rf"{path} is {kind} of its own.*Move it away") as caught:
        layout.prepare()

    assert ExitCode.USAGE == caught.value.exit_code
    path.rmdir() if kind == "a folder" else path.unlink()
    layout.prepare()


def test_links_of_an_earlier_run_are_no_obstacle(layout: Layout) -> None:
    layout.prepare()
    layout.point_latest(layout.runs_folder / "one")
    layout.point_report(layout.runs_folder / "gone" / "report.html")

    layout.prepare()


def test_temporary_and_final_files_on_two_devices_are_refused(tmp_path: Path) -> None:
    output = tmp_path / "demo"
    output.mkdir()
    with small_disk(output / ".tmp") as has_own_disk:
        if not has_own_disk:
            pytest.skip("a file system cannot be mounted here")
        with pytest.raises(UsageError, match=r"\.tmp is on another file system"):
            Layout(output=output).prepare()


def test_an_output_on_a_network_file_system_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight_module, "network_file_system", lambda path: "nfs4")

    with pytest.raises(UsageError, match=r"network file system \(nfs4\)"):
        Layout(output=tmp_path / "demo").prepare()
    assert not (tmp_path / "demo").exists()


@dataclass(frozen=True)
class Room:
    """What statvfs says; by default all is well."""

    f_bavail: int = 10**6
    f_frsize: int = 4096
    f_files: int = 10**6
    f_favail: int = 10**6


@pytest.mark.parametrize(
    ("room", "words"),
    [
        (Room(f_bavail=2), r"only 0\.0 MB are free"),
        (Room(f_favail=12), "only 12 inodes are free"),
        (Room(f_bavail=2, f_favail=12), "(?s)MB.*inodes"),
    ],
    ids=["bytes", "inodes", "both"],
)
def test_a_disk_without_room_is_refused_before_anything_is_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: Room, words: str
) -> None:
    monkeypatch.setattr(preflight_module.os, "statvfs", lambda path: room)

    with pytest.raises(UsageError, match=words):
        Layout(output=tmp_path / "demo").prepare()


def test_a_file_system_that_does_not_count_inodes_has_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(preflight_module.os, "statvfs", lambda path: Room(f_files=0, f_favail=0))

    Layout(output=tmp_path / "demo").prepare()


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/outputs", ""),
        ("/net/data/outputs/demo", "nfs4"),
        ("/net/data", "nfs4"),
        ("/net/database", ""),
        ("/net/data/local/demo", ""),
        ("/mnt/with space/demo", "cifs"),
        ("/over/demo", ""),
    ],
)
def test_the_mount_that_holds_a_path_decides(tmp_path: Path, path: str, kind: str) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 254:0 / / rw,relatime - ext4 /dev/vda rw\n"
        "40 22 0:40 / /net/data rw shared:1 - nfs4 server:/data rw\n"
        "41 40 254:1 / /net/data/local rw - xfs /dev/vdb rw\n"
        "42 22 0:42 / /mnt/with\\040space rw - cifs //server/share rw\n"
        "43 22 0:43 / /over rw - nfs server:/over rw\n"
        "44 43 254:2 / /over rw - ext4 /dev/vdc rw\n"
    )

    assert kind == network_file_system(Path(path), mounts)


def test_without_a_mount_table_nothing_is_claimed(tmp_path: Path) -> None:
    assert "" == network_file_system(tmp_path, tmp_path / "missing")


def test_run_folders_are_named_by_their_utc_second(layout: Layout) -> None:
    local = NOW.astimezone(timezone(timedelta(hours=5)))
    names = [layout.new_run_folder(moment).name for moment in (NOW, local, NOW)]

    assert ["20261122T081530Z", "20261122T081530Z-2", "20261122T081530Z-3"] == names


def test_run_folders_come_oldest_first(layout: Layout) -> None:
    made = [layout.new_run_folder(NOW) for _ in range(11)]
    earlier = layout.new_run_folder(NOW - timedelta(days=1))

    assert [earlier, *made] == layout.run_folders()


def test_pruning_keeps_the_newest_and_whatever_is_not_ours(layout: Layout) -> None:
    runs = [layout.new_run_folder(NOW + timedelta(days=day)) for day in range(4)]
    (runs[0] / "gallery").mkdir()
    (runs[0] / "gallery" / "a.jpg").write_bytes(b"x")
    (layout.runs_folder / "my notes").mkdir()
    (layout.runs_folder / "20261122T081530Z.bak").mkdir()

    assert 2 == layout.prune_runs(2)
    assert ["20261122T081530Z.bak", "20261124T081530Z", "20261125T081530Z", "my notes"] == sorted(
        path.name for path in layout.runs_folder.iterdir()
    )


def test_pruning_spares_what_the_links_point_to(layout: Layout) -> None:
    first, second, third = (layout.new_run_folder(NOW + timedelta(days=day)) for day in range(3))
    (first / "report.html").write_bytes(b"<!doctype html>")
    layout.point_report(first / "report.html")
    layout.point_latest(second)

    assert 0 == layout.prune_runs(1)
    assert [first, second, third] == layout.run_folders()


def test_pruning_follows_no_link_out_of_the_folder(layout: Layout, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    (layout.runs_folder / "20200101T000000Z").symlink_to(precious)
    layout.prune_runs(0)

    assert precious.is_dir()


def test_a_name_depends_on_the_key_alone(tmp_path: Path) -> None:
    images = ImageFolder(tmp_path)

    assert "images/0a/0a1b.jpg" == images.file_name("0a1b", ".jpg")
    assert tmp_path / "images/0a/0a1b.jpg" == images.final_path("0a1b", ".jpg")


def test_a_link_planted_at_a_final_name_is_replaced_and_not_followed(layout: Layout, tmp_path: Path) -> None:
    images = ImageFolder(layout.output)
    (tmp_path / "precious").write_bytes(b"precious")
    final = images.final_path("0a1b", ".jpg")
    final.parent.mkdir()
    final.symlink_to(tmp_path / "precious")
    images.temporary_path("part").write_bytes(b"image")
    images.place("part", "0a1b", ".jpg")

    assert (False, b"image") == (final.is_symlink(), final.read_bytes())
    assert b"precious" == (tmp_path / "precious").read_bytes()


def test_a_temporary_file_elsewhere_is_a_bug_and_said_so(layout: Layout) -> None:
    images = ImageFolder(layout.output)

    assert "part" == images.temporary_name(f"{layout.temporary_folder}/part")
    with pytest.raises(ValueError, match="belongs into"):
        images.temporary_name("/somewhere/part")


def test_only_what_a_worker_writes_is_a_temporary_file(layout: Layout) -> None:
    key = "0a" * 16
    ours = Path(write_temporary(b"", folder=str(layout.temporary_folder), key_hex=key, durable=False)).name
    others = ("ballast", "notes.txt", "a.part", f"{key}.part", f"{key}.1.1.part.bak", f"{key.upper()}.1.1.part")
    for name in others:
        (layout.temporary_folder / name).write_bytes(b"")
    (layout.temporary_folder / f"{key}.1.2.part").mkdir()

    assert [ours] == list(ImageFolder(layout.output).temporary_names())


@pytest.mark.parametrize("name", [".tmp", "images", "runs", "images/0a"])
def test_a_folder_of_the_job_that_is_a_link_is_refused(layout: Layout, tmp_path: Path, name: str) -> None:
    elsewhere, link = tmp_path / "elsewhere", layout.output / name
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("mine")
    if link.is_dir():
        link.rmdir()
    link.symlink_to(elsewhere)

    with pytest.raises(UsageError, match=rf"{link} is a link, and the job writes and deletes in it\. Remove it"):
        layout.prepare()
    assert ["notes.txt"] == [path.name for path in elsewhere.iterdir()]


def test_a_link_among_the_images_that_the_job_never_touches_is_left(layout: Layout, tmp_path: Path) -> None:
    (layout.images_folder / "favourites").symlink_to(tmp_path)
    layout.output.with_name("by-another-name").symlink_to(layout.output)

    Layout(output=layout.output.with_name("by-another-name")).prepare()


def test_the_sink_imports_nothing_that_a_worker_must_not_have() -> None:
    heavy = {"pydantic", "typer", "requests", "PIL"}
    code = f"import sys, batchproc.sink, batchproc.ledger; print({heavy} & set(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)

    assert "set()" == found.stdout.strip()


def test_the_sweep_takes_what_a_killed_run_left_in_the_folders_of_the_runs(tmp_path: Path) -> None:
    layout = Layout(output=tmp_path / "out")
    layout.prepare()
    folder = layout.new_run_folder(datetime(2026, 11, 22, 8, 15, 30, tzinfo=UTC))
    dead = os.posix_spawn("/bin/true", ["true"], {})
    os.waitpid(dead, 0)
    stranger = layout.runs_folder / "mine"
    stranger.mkdir()
    for path in (folder / f".run.json.{dead}.tmp", folder / f".report.html.{dead}.tmp", folder / "run.json",
                 folder / f".trace.json.{os.getppid()}.tmp", stranger / f".notes.{dead}.tmp"):  # fmt: skip
        path.write_bytes(b"x")

    layout.sweep()

    assert [f".trace.json.{os.getppid()}.tmp", "run.json"] == sorted(path.name for path in folder.iterdir())
    assert [f".notes.{dead}.tmp"] == [path.name for path in stranger.iterdir()]


def test_what_a_killed_run_shared_between_its_processes_is_swept(tmp_path: Path) -> None:
    layout = Layout(output=tmp_path)
    layout.prepare()
    (layout.temporary_folder / "batchproc-gauges-x1").touch()
    (layout.temporary_folder / "batchproc-robots-x1").mkdir()
    (layout.temporary_folder / "batchproc-robots-x1" / "0a").touch()
    (layout.temporary_folder / "notes.txt").touch()
    layout.sweep()

    assert ["notes.txt"] == [path.name for path in layout.temporary_folder.iterdir()]
