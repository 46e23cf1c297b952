"""Libraries in C that decode images write nothing into the program's stderr, in whatever mode the transforms run."""

import io
from pathlib import Path

import pytest
import pyvips
from PIL import Image

from tests.pipeline.site import Site
from tests.pipeline.test_hard_input import command
from tests.transform.drawing import encoded, photo

TIFF = ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "group4", "lzma", "zstd")
OTHERS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "BMP")


def webp_in_tiff() -> bytes:
    picture = pyvips.Image.new_from_memory(photo(60, 40).tobytes(), 60, 40, 3, "uchar")
    content: bytes = picture.tiffsave_buffer(compression="webp")
    return content


def damaged(content: bytes) -> bytes:
    """Overwritten in its middle, where the pixels are."""
    at = len(content) // 3
    return content[:at] + bytes(range(1, 121)) + content[at + 120 :]


def pictures() -> dict[str, bytes]:
    made = {"webp": webp_in_tiff()}
    for compression in TIFF:
        file = io.BytesIO()
        photo(120, 90).convert("1" if compression == "group4" else "RGB").save(file, "TIFF", compression=compression)
        made[compression] = damaged(file.getvalue())
    noisy = Image.effect_noise((120, 90), 60).convert("RGB")
    return made | {format: damaged(encoded(noisy, format)) for format in OTHERS}


@pytest.mark.parametrize("mode", ["serial", "thread", "process"])
def test_damaged_and_odd_images_leave_stderr_to_the_program(site: Site, tmp_path: Path, mode: str) -> None:
    site.pictures = {f"/{name}": content for name, content in pictures().items()}
    (tmp_path / "list.txt").write_text("".join(f"{site.url}{name[1:]}\n" for name in site.pictures))
    (tmp_path / "job.toml").write_text(
        '[job]\nname = "odd"\ninput = "list.txt"\noutput = "out"\nmax_failed_ratio = 1.0\n'
        f'[download]\nallow_addresses = ["127.0.0.0/8"]\n[transform]\nmode = "{mode}"\n[report]\nhtml = false\n'
    )

    done = command("run", str(tmp_path / "job.toml"), "--quiet")

    failures = (tmp_path / "out/failures.jsonl").read_text()
    assert (0, "", "") == (done.returncode, done.stdout, done.stderr)
    assert all(f'/{name}"' in failures for name in ("webp", "tiff_lzw", "lzma"))
