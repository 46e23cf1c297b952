"""JPEGs whose data ends early are failures whatever stands behind it; whole ones decode as Pillow decodes them."""

import random
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from batchproc.errors import Code, Reject, Retry, StageError
from batchproc.transform.decode import FORMATS, open_picture, prepare_pillow
from batchproc.transform.plan import Transform
from tests.campaign.jpeg_ends import EOI, damaged, data_of, drawn, same_as_pillows, verdict
from tests.transform.drawing import encoded, item, no_lap, photo

SIZE = (150, 133)
FILES = drawn(SIZE, (48, 41))
NOISE = random.Random(5).randbytes(4000).replace(b"\xff", b"\xfe")
TEXT = "\n".join(f"{number:x}: written by a camera" for number in range(0, 9000, 77)).encode()
FAILURES = (Code.TRUNCATED, Code.IMAGE_CORRUPT)


@pytest.fixture(autouse=True)
def pillow() -> None:
    prepare_pillow()


@pytest.mark.parametrize("name", FILES)
def test_a_file_cut_in_its_middle_fails_whatever_stands_behind_it(name: str) -> None:
    begin, end = data_of(FILES[name])
    cuts = damaged(FILES[name], begin + (end - begin) * 3 // 5, FILES["baseline 4:2:0"], random.Random(3))

    codes = {kind: verdict(content, 8 if len(kind) % 2 else 1) for kind, content in cuts}

    assert {} == {what: code for what, code in codes.items() if code not in FAILURES}


@pytest.mark.parametrize("name", FILES)
def test_a_few_random_cuts_of_the_campaign_fail(name: str) -> None:
    chance, (begin, end) = random.Random(name), data_of(FILES[name])
    codes = {}

    for at in (chance.randrange(begin, end - 64) for _ in range(4)):
        cut = dict(damaged(FILES[name], at, FILES["grey"], chance))
        codes |= {(at, kind): verdict(cut[kind], 8) for kind in ("end of image", "zeros, end of image", "a page")}

    assert {} == {what: code for what, code in codes.items() if code not in FAILURES}


def test_a_cut_file_is_tried_once_more_in_every_mode_of_decoding(tmp_path: Path) -> None:
    content = FILES["baseline 4:2:0"]
    cut = content[: len(content) // 2] + EOI

    for quality in ("fast", "balanced", "exact"):
        with pytest.raises(StageError) as caught:
            Transform(temporary_folder=str(tmp_path), quality=quality).open()(item(cut), no_lap)

        assert (Code.TRUNCATED, Retry.ONCE) == (caught.value.code, caught.value.retry_in("transform"))
        assert "the jpeg image ends early: its last pixels have no data" == caught.value.message


def test_a_file_that_ends_within_a_segment_of_its_header_ends_early() -> None:
    content = FILES["baseline 4:2:0"]
    at = content.index(b"\xff\xc4") + 9  # a table of codes

    assert Code.TRUNCATED == verdict(content[:at] + EOI)


def test_a_progressive_file_without_its_last_scans_is_truncated() -> None:
    content = FILES["progressive"]
    last = content.rindex(b"\xff\xda")

    assert Code.TRUNCATED == verdict(content[: content.rindex(b"\xff\xc4", 0, last)] + EOI)
    assert Code.TRUNCATED == verdict(content[: last + 14] + EOI)


@pytest.mark.parametrize("skipped", [1, 3, 8])
def test_restart_intervals_that_are_left_out_are_truncated(skipped: int) -> None:
    content = FILES["many restart markers"]
    markers = [match.start() for match in re.finditer(rb"\xff[\xd0-\xd7]", content)]

    assert Code.TRUNCATED == verdict(content[: markers[5]] + content[markers[5 + skipped] :])


def test_a_restart_interval_without_its_second_half_is_truncated() -> None:
    content = FILES["restart markers"]
    begin, end = content.index(b"\xff\xd3") + 2, content.index(b"\xff\xd4")

    assert Code.TRUNCATED == verdict(content[: (begin + end) // 2] + content[end:])


@pytest.mark.parametrize("name", FILES)
def test_a_whole_file_has_the_pixels_that_pillow_decodes(name: str) -> None:
    assert [True, True, True] == [same_as_pillows(FILES[name], scale) for scale in (1, 2, 8)]


@pytest.mark.parametrize(
    "behind",
    [EOI + NOISE, EOI + bytes(9), EOI + EOI, EOI + FILES["CMYK"], b"", b"\xff\xff" + EOI, b"\xff\xfe\x00\x04ab" + EOI],
    ids=["noise", "zeros", "twice", "another-file", "no-end-of-image", "fill-bytes", "comment"],
)
def test_what_stands_behind_whole_data_is_no_failure(behind: bytes) -> None:
    codes = {name: verdict(content[: data_of(content)[1]] + behind) for name, content in FILES.items()}

    assert dict.fromkeys(FILES, "") == codes


@pytest.mark.parametrize(
    "surplus",
    [b"\x00", b"\x7f\x00", bytes(700), NOISE[:40], NOISE, TEXT, b"\xff\xd3"],
    ids=["a-byte", "two-bytes", "zeros", "some-noise", "much-noise", "text", "restart-marker"],
)
def test_bytes_of_no_pixel_at_the_end_of_whole_data_are_no_failure(surplus: bytes) -> None:
    names = ("baseline 4:2:0", "own tables", "grey", "restart markers")
    whole = {name: FILES[name][: data_of(FILES[name])[1]] + surplus for name in names}

    codes = {(name, end): verdict(content + end) for name, content in whole.items() for end in (EOI, b"")}

    assert dict.fromkeys(codes, "") == codes


def test_data_of_more_pixels_than_the_size_says_is_corrupt() -> None:
    content = bytearray(FILES["baseline 4:2:0"])
    at = content.index(b"\xff\xc0")
    content[at + 5 : at + 7] = (SIZE[1] // 2).to_bytes(2)

    assert Code.IMAGE_CORRUPT == verdict(bytes(content))


@pytest.mark.parametrize("colour", [(128, 128, 128), (255, 255, 255), (0, 0, 0)], ids=["grey", "white", "black"])
@pytest.mark.parametrize("size", [(1, 1), (16, 16), (133, 155)], ids=str)
def test_flat_pictures_and_flat_corners_are_whole(colour: tuple[int, int, int], size: tuple[int, int]) -> None:
    picture = photo(*size)
    picture.paste(colour, (size[0] // 2, size[1] // 3, *size))
    writers: list[dict[str, Any]] = [{}, {"optimize": True}, {"progressive": True}, {"restart_marker_rows": 1}]

    codes = [verdict(encoded(one, **how)) for how in writers for one in (picture, Image.new("RGB", size, colour))]

    assert [""] * 8 == codes


def test_pictures_of_odd_sizes_are_whole() -> None:
    sizes = [(7, 5), (17, 33), (16, 8), (129, 65)]

    codes = {(size, how): verdict(encoded(photo(*size), subsampling=how)) for size in sizes for how in range(3)}

    assert dict.fromkeys(codes, "") == codes


def test_a_thumbnail_in_the_metadata_decides_nothing() -> None:
    exif = Image.Exif()
    exif[0x010E] = "thumbnail"
    thumbnail = FILES["progressive with restart markers"][:9000]
    content = encoded(photo(*SIZE), exif=exif.tobytes() + thumbnail)

    assert "" == verdict(content)
    assert Code.TRUNCATED == verdict(content[:-500] + EOI)


def test_fill_bytes_before_every_marker_are_no_failure() -> None:
    content = FILES["restart markers"]
    begin, end = data_of(content)
    data = content[begin:end]
    for number in range(8):
        marker = b"\xff" + bytes([0xD0 + number])
        data = data.replace(marker, b"\xff\xff" + marker)

    assert "" == verdict(content[:begin] + data + b"\xff\xff\xff" + content[end:])


def test_a_check_on_the_header_comes_before_the_data_is_looked_at(tmp_path: Path) -> None:
    cut = FILES["grey"][:1000]
    stage = Transform(temporary_folder=str(tmp_path), steps=())

    assert SIZE == open_picture(cut, formats=FORMATS, max_pixels=10**6).size
    with pytest.raises((StageError, Reject)):
        stage.open()(item(cut), no_lap)
