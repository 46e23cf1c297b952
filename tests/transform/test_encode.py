"""Encoding: every format, its limits, its modes; nothing but pixels goes out."""

from io import BytesIO

import pytest
from PIL import Image, ImageCms

from batchproc.errors import Code, StageError
from batchproc.transform import encode as encoding
from batchproc.transform.encode import TARGETS, encode, target_of
from tests.transform.drawing import photo


@pytest.mark.parametrize("name", list(TARGETS))
@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "CMYK", "1"])
def test_every_format_takes_every_mode(name: str, mode: str) -> None:
    made = encode(photo(40, 30, mode), TARGETS[name], quality=80, background="#ffffff")

    image = Image.open(BytesIO(made.data))
    assert (TARGETS[name].format, (40, 30)) == (image.format, image.size)
    assert made.mode in TARGETS[name].modes
    assert ("A" in made.mode) == ("A" in mode and name != "jpeg")


@pytest.mark.parametrize(
    ("name", "size"),
    [("jpeg", (65_501, 1)), ("webp", (1, 16_384)), ("avif", (32_769, 1))],
    ids=["jpeg", "webp", "avif"],
)
def test_a_picture_too_large_for_the_format_says_so(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(StageError, match="ends at") as caught:
        encode(Image.new("L", size), TARGETS[name], quality=80, background="#ffffff")

    assert Code.IMAGE_UNSUPPORTED == caught.value.code


@pytest.mark.parametrize(
    ("original", "suffix"),
    [
        ("jpeg", ".jpg"),
        ("png", ".png"),
        ("webp", ".webp"),
        ("avif", ".avif"),
        ("gif", ".png"),
        ("bmp", ".png"),
        ("tiff", ".png"),
    ],
)
def test_keep_writes_the_originals_format_or_png(original: str, suffix: str) -> None:
    assert suffix == target_of("keep", original).suffix


@pytest.mark.parametrize("name", list(TARGETS))
def test_no_metadata_is_written(name: str) -> None:
    picture = photo(16, 16)
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    exif = b"Exif\x00\x00secret"
    picture.info = {"icc_profile": srgb, "comment": b"secret", "exif": exif, "xmp": b"secret", "dpi": (3, 3)}

    made = encode(picture, TARGETS[name], quality=80, background="#ffffff")

    assert b"secret" not in made.data
    assert "icc_profile" not in Image.open(BytesIO(made.data)).info


def test_jpeg_bytes_are_the_same_with_and_without_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photo()
    with_descriptor = encode(picture, TARGETS["jpeg"], quality=85, background="#ffffff").data
    monkeypatch.setattr(encoding, "_MEMORY_FILES", False)

    assert with_descriptor == encode(picture, TARGETS["jpeg"], quality=85, background="#ffffff").data


def test_an_encoder_that_refuses_is_no_fault_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_image: Image.Image, *_where: object, **_options: object) -> None:
        raise OSError(28, "encoder error -2")

    monkeypatch.setattr(Image.Image, "save", refuse)

    with pytest.raises(StageError) as caught:
        encode(photo(8, 8), TARGETS["jpeg"], quality=85, background="#ffffff")

    assert Code.IMAGE_UNSUPPORTED == caught.value.code
