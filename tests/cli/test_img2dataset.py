"""`batchproc init --from-img2dataset` writes a config that does what the flags say, or says which are wrong."""

import sys
import tomllib
from pathlib import Path

import pytest
from PIL import Image

from batchproc.cli import main
from batchproc.cli.img2dataset import FLAGS, convert, read_flags
from batchproc.config import load
from batchproc.errors import UsageError
from batchproc.transform.plan import build_steps

PAGE = Path(__file__).parents[2] / "docs/from-img2dataset.md"


def tables(flags: str) -> dict[str, dict[str, object]]:
    return tomllib.loads(convert(f"--url_list=a.csv {flags}", "set"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("--image_size=384", {"image_size": 384}),
        ("--image_size 384", {"image_size": 384}),
        ("--image-size 384", {"image_size": 384}),
        ("-image_size=384", {"image_size": 384}),
        ("--skip_reencode --image_size 1", {"skip_reencode": True, "image_size": 1}),
        ("--skip_reencode", {"skip_reencode": True}),
        ("--skip_reencode True", {"skip_reencode": True}),
        ("--noextract_exif", {"extract_exif": False}),
        ("--nosuch_flag", None),
        ("--save_additional_columns=[a,b]", {"save_additional_columns": ["a", "b"]}),
        ("""--save_additional_columns '["a", "b"]'""", {"save_additional_columns": ["a", "b"]}),
        ("--max_aspect_ratio 2.5", {"max_aspect_ratio": 2.5}),
        ("--caption_col None", {"caption_col": None}),
        ("--url_col 7", {"url_col": "7"}),
    ],
)
def test_flags_are_read_as_fire_reads_them(text: str, expected: dict[str, object] | None) -> None:
    if expected is None:
        with pytest.raises(UsageError):
            read_flags(f"--url_list a.txt {text}")
    else:
        assert {"url_list": "a.txt", **expected} == read_flags(f"--url_list a.txt {text}").given


def test_values_without_a_flag_are_taken_in_the_order_of_the_signature() -> None:
    expected = {"image_size": 128, "url_list": "a.txt", "output_folder": "out"}

    assert expected == read_flags("img2dataset a.txt --image_size 128 out").given


@pytest.mark.parametrize(
    ("mode", "how"),
    [("border", "pad"), ("keep_ratio", "cover"), ("keep_ratio_largest", "contain"), ("center_crop", "fit")],
)
def test_each_resize_mode_has_a_how(mode: str, how: str) -> None:
    (step,) = tables(f"--resize_mode={mode} --image_size=300")["transform"]["steps"]  # type: ignore[misc]

    assert ("resize", [300, 300], how, False) == (step["op"], step["size"], step["how"], step["only_shrink"])


def test_without_flags_images_become_what_they_become_there() -> None:
    config = tables("")

    resize = {"op": "resize", "size": [256, 256], "how": "pad", "only_shrink": False, "background": "#ffffff"}
    assert [resize] == config["transform"]["steps"]
    assert {"format": "jpeg", "quality": 95} == config["output"]
    assert "download" not in config


def test_a_whole_command_becomes_a_config_that_is_accepted(tmp_path: Path) -> None:
    text = convert(
        "img2dataset --url_list=laion.parquet --input_format=parquet --url_col=URL --caption_col=TEXT "
        "--output_format=webdataset --output_folder=/data/out --processes_count=2 --thread_count=64 --timeout=20 "
        "--retries=2 --number_sample_per_shard=5000 --min_image_size=100 --max_aspect_ratio=3 --max_image_area=1000000 "
        "--user_agent_token=me --disallowed_header_directives=[] --encode_format=webp --encode_quality=90",
        "set",
    )
    (tmp_path / "job.toml").write_text(text)

    config = load(tmp_path / "job.toml", environ={})

    assert ("URL", "/data/out") == (config.job.url_column, config.job.output)
    assert (128, 20.0, 20.0, 2) == (
        config.download.workers,
        config.download.connect_timeout,
        config.download.first_byte_timeout,
        config.download.retries,
    )
    assert ("ignore", True) == (config.download.robots, config.download.user_agent.endswith("(me)"))
    assert ["min_size", "max_aspect", "resize"] == [step["op"] for step in config.transform.steps]
    assert 1_000_000 == config.transform.max_pixels
    assert ("webp", 90, "webdataset", 5000, "TEXT") == (
        config.output.format,
        config.output.quality,
        config.output.layout,
        config.output.shard_items,
        config.output.caption,
    )


def test_flags_without_a_counterpart_become_comments_that_say_what_to_do() -> None:
    text = convert("--url_list=a.txt --bbox_col=faces --output_format=tfrecord --compute_hash=md5 --timeout=5", "set")

    noted = [line[4:].partition("=")[0] for line in text.splitlines() if line.startswith("#   --")]
    assert ["--bbox_col", "--output_format", "--compute_hash"] == noted


def test_a_comment_stays_a_comment_whatever_the_flag_holds() -> None:
    text = convert("--url_list=a.txt --wandb_project='x\nname = 3'", "set")

    assert {"job", "output", "transform"} == tomllib.loads(text).keys()


def test_a_folder_stands_for_its_lists_of_the_format(tmp_path: Path) -> None:
    text = convert(f"--url_list={tmp_path} --input_format=csv.gz", "set")

    assert f"{tmp_path}/*.csv.gz" == tomllib.loads(text)["job"]["input"]


def test_all_wrong_flags_are_told_at_once_with_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    flags = "--image_sise=3 --timeout=0 --resize_mode=crop --skip_reencode=2 --verify_hash=md5"
    monkeypatch.setattr(sys, "argv", ["batchproc", "init", str(tmp_path / "new"), "--from-img2dataset", flags])

    with pytest.raises(SystemExit) as exit_:
        main()

    assert 2 == exit_.value.code
    assert [
        "error: --image_sise: img2dataset 1.47 has no such flag; did you mean --image_size?",
        "error: --timeout=0: must be a whole number, 1 or more.",
        "error: --resize_mode=crop: must be one of border, keep_ratio, keep_ratio_largest, center_crop, no.",
        "error: --skip_reencode=2: must be True or False.",
        "error: --verify_hash=md5: must be a list as [a,b].",
        "error: --url_list: is missing: img2dataset needs it too",
    ] == capsys.readouterr().err.splitlines()
    assert not (tmp_path / "new").exists()


def test_init_writes_the_config_and_its_schema_and_never_overwrites(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["batchproc", "init", str(tmp_path), "--from-img2dataset", "--url_list a.txt"])

    codes = []
    for _ in range(2):
        with pytest.raises(SystemExit) as exit_:
            main()
        codes.append(exit_.value.code)

    assert [0, 2] == codes
    assert ["job.schema.json", "job.toml"] == sorted(path.name for path in tmp_path.iterdir())
    assert (tmp_path / "job.toml").read_text().startswith("#:schema job.schema.json\n")


def test_the_page_has_every_flag() -> None:
    rows = PAGE.read_text()

    assert [] == [flag for flag in FLAGS if f"| `{flag}`" not in rows]


@pytest.mark.parametrize("only_if_bigger", [False, True])
@pytest.mark.parametrize(
    ("mode", "size", "expected"),
    [  # as img2dataset 1.47 made them: without the switch, with it
        ("border", (1000, 600), ((256, 256), (256, 256))),
        ("keep_ratio", (1000, 600), ((427, 256), (427, 256))),
        ("keep_ratio", (200, 100), ((512, 256), (200, 100))),
        ("keep_ratio_largest", (600, 1000), ((154, 256), (154, 256))),
        ("keep_ratio_largest", (200, 100), ((256, 128), (200, 100))),
        ("center_crop", (1000, 600), ((256, 256), (256, 256))),
        ("center_crop", (200, 100), ((256, 256), (200, 100))),
        ("no", (300, 256), ((300, 256), (300, 256))),
    ],
)
def test_images_get_the_sizes_that_they_have_there(
    mode: str, size: tuple[int, int], expected: tuple[tuple[int, int], tuple[int, int]], only_if_bigger: bool
) -> None:
    config = tables(f"--resize_mode={mode} --resize_only_if_bigger={only_if_bigger}")
    image = Image.new("RGB", size)

    for step in build_steps(config.get("transform", {}).get("steps", [])):  # type: ignore[arg-type]
        image = step(image)

    assert expected[only_if_bigger] == image.size
