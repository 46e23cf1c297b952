"""The commands that need no config: `init` writes one, `demo` and `get` run it too, `try` shows steps on one image."""

import json
import shlex
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import typer

from batchproc.cli.console import Settings, config_schema, from_here, print_message
from batchproc.cli.run import run
from batchproc.errors import BatchprocError, Problem, Reject, StageError, UsageError

if TYPE_CHECKING:
    from batchproc.model import OutputImage
    from batchproc.transform.steps.step import Step

CONFIG, LIST, SCHEMA = "job.toml", "urls.txt", "job.schema.json"  # what `init` writes; the first two from `templates`
SHOWN_PX = 640  # largest side of each half of a picture of before and after

Into = Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="folder for images, rows, config and report")]
Resize = Annotated[
    int, typer.Option(min=0, max=65535, metavar="PX", help="fit into a square of so many pixels; 0 = as is")
]
Format = Annotated[str, typer.Option(help="jpeg | png | webp | avif | keep")]


FromImg2dataset = Annotated[
    str, typer.Option("--from-img2dataset", metavar="FLAGS", help="write what these flags of img2dataset mean")
]


def init(folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path(), img2dataset: FromImg2dataset = "") -> None:
    """Write a commented starter config and an input list.

    Beside them the JSON Schema of the config, for editors. Never overwrites.

    Example: batchproc init myjob
    """
    from_here(folder)
    texts = _converted(img2dataset, folder) if img2dataset else _starter()
    texts[SCHEMA] = json.dumps(config_schema(), indent=2) + "\n"
    if standing := [str(folder / name) for name in texts if (folder / name).exists()]:
        raise UsageError(f"{', '.join(standing)}: already there, and init never overwrites; choose another folder")
    _write(folder, texts)
    for name in texts:
        print(f"wrote {folder / name}")
    first = "check it" if img2dataset else "put URLs into the list"
    command = "check" if img2dataset else "run"
    print_message(f"next: {first}, then batchproc {command} {folder / CONFIG}")


def _starter() -> dict[str, str]:
    from importlib.resources import files

    templates = files("batchproc") / "templates"
    return {name: (templates / name).read_text("utf-8") for name in (CONFIG, LIST)}


def _converted(flags: str, folder: Path) -> dict[str, str]:
    from batchproc.cli.img2dataset import convert

    return {CONFIG: f"#:schema {SCHEMA}\n{convert(flags, folder.absolute().name or 'img2dataset')}"}


def demo(folder: Annotated[Path, typer.Argument(metavar="[DIR]")] = Path("batchproc-demo")) -> None:
    """Run the demo: 240 images from a server of its own.

    Writes its config and list into the folder, and runs them; the same command continues, or finds nothing left to do.

    Example: batchproc demo
    """
    from importlib.resources import files

    from batchproc.origin.site import demo_list

    from_here(folder)
    config = (files("batchproc") / "templates" / "demo.toml").read_text("utf-8")
    _write(folder, {CONFIG: config, LIST: demo_list(images=240)})
    _run(folder)


def get(
    sources: Annotated[list[str], typer.Argument(metavar="URL...|LIST...", help="URLs of images, or lists of them")],
    output: Into,
    resize: Resize = 0,
    format: Format = "jpeg",
    setting: Settings = None,
) -> None:
    """Download images without writing a config.

    The config that it makes stands beside the images: edit it, and go on with `batchproc run`. More URLs may follow
    into the same folder.

    Example: batchproc get https://example.org/a.jpg list.csv -o photos --resize 512
    """
    from_here(output)
    urls = [source for source in sources if not _is_list(source)]
    lists = [source if "://" in source else str(from_here(Path(source))) for source in sources if _is_list(source)]
    _refuse_both(urls, lists, output)
    texts = {}
    if urls or (output / LIST).exists():
        known = (output / LIST).read_text("utf-8").splitlines() if (output / LIST).exists() else []
        texts[LIST] = "".join(f"{url}\n" for url in dict.fromkeys([*known, *urls]))
        lists = [LIST, *lists]
    texts[CONFIG] = _make_config(output.absolute().name or "get", lists, resize=resize, format=format)
    _write(output, texts, may_grow=(LIST,))
    _run(output, setting)


def _refuse_both(urls: Sequence[str], lists: Sequence[str], output: Path) -> None:
    """Raises `UsageError`, before anything is written, where URLs or lists stand beside images of this machine."""
    from batchproc.redact import redact_url
    from batchproc.sources import find_sources

    images = find_sources([name for name in lists if "://" not in name]).images
    if images and (urls or (output / LIST).exists() or any("://" in name for name in lists)):
        other = redact_url(urls[0]) if urls else str(output / LIST)
        raise UsageError(f"{images[0]}: images of this machine and URLs ({other}) make two jobs; take another folder.")


def _is_list(source: str) -> bool:
    """Whether this is a list and not an image: by its ending; a path is always one."""
    from batchproc.sources import is_list_name

    return "://" not in source or is_list_name(urlsplit(source).path)


def _make_config(name: str, lists: Sequence[str], *, resize: int, format: str) -> str:
    lines = [
        "# Made by `batchproc get`; `batchproc run job.toml` goes on with it. `batchproc help config` lists keys.",
        "",
        "[job]",
        f"name = {json.dumps(name)}",
        f"input = {json.dumps(list(lists))}",
        'output = "."',
        "",
        "[output]",
        f"format = {json.dumps(format)}",
    ]
    if resize:
        size = f"size = [{resize}, {resize}]"
        lines += ["", "[[transform.steps]]", 'op = "resize"', size, 'how = "contain"', "only_shrink = true"]
    return "\n".join(lines) + "\n"


def _write(folder: Path, texts: Mapping[str, str], may_grow: Sequence[str] = ()) -> None:
    """Writes the files of a job, unless they are there. Raises `UsageError` where another job's stand there."""
    for name, text in texts.items():
        path = folder / name
        try:
            if path.exists() and name not in may_grow and path.read_text("utf-8") != text:
                other = f"`batchproc run {shlex.quote(str(folder / CONFIG))}` goes on with it; take another folder"
                raise UsageError(f"{path}: is not as this command writes it, and stays. {other} for another job.")
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UsageError(f"{path}: cannot be written: {error.strerror}") from error


def _run(folder: Path, setting: list[str] | None = None) -> None:
    config = folder / CONFIG
    print_message(f"running {config}; `batchproc run {shlex.quote(str(config))}` does the same")
    run(config, setting=setting)


def try_(
    arguments: Annotated[
        list[str], typer.Argument(metavar="STEP... IMAGE", help='steps, as "resize size=[256,256]", and a file')
    ],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="the PNG to write")] = Path(
        "tried.png"
    ),
    format: Format = "keep",
) -> None:
    """Show steps on one image, before and after.

    Writes a PNG with both halves side by side, and prints what each step took.

    Example: batchproc try "resize size=[256,256] how=cover" sharpen photo.jpg
    """
    *texts, image = arguments
    from_here(output)
    content = _read_image(from_here(Path(image)))
    steps = _build(texts)
    with tempfile.TemporaryDirectory(prefix="batchproc-try-") as folder:
        made, parts = _transform(content, steps, folder, format)
        size = f"{made.original_width_px} x {made.original_height_px} px"
        print(f"before  {size}, {made.original_format}, {len(content):,} bytes")
        for name, milliseconds in parts:
            print(f"        {name}  {milliseconds:.1f} ms")
        print(f"after   {made.width_px} x {made.height_px} px, {made.format}, {made.size_bytes:,} bytes")
        for note in made.notes:
            print(f"        note: {note}")
        _draw(content, Path(made.temporary_path), output)
    print(f"both    {output}")


try_.__name__ = "try"  # a word that Python keeps for itself


def _read_image(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}") from error


def _build(texts: Sequence[str]) -> "tuple[Step, ...]":
    """The steps of texts as `resize size=[256,256] how=cover`. Raises `UsageError` with every problem at once."""
    from batchproc.config.load import read_value
    from batchproc.transform.plan import build_steps

    tables: list[dict[str, object]] = []
    for text in texts:
        try:
            op, *keys = shlex.split(text)
        except ValueError as error:
            raise UsageError([Problem(where=text, message=f'must be as "resize size=[256,256]": {error}.')]) from error
        tables.append(
            {"op": op, **{key: read_value(value) for key, _, value in (word.partition("=") for word in keys)}}
        )
    return build_steps(tables, search_path=Path.cwd())


class _Parts:
    """Times the parts of one image's way; a `Lap`."""

    def __init__(self) -> None:
        self.milliseconds: list[tuple[str, float]] = []
        self._started = perf_counter()

    def __call__(self, part: str) -> None:
        now = perf_counter()
        self.milliseconds.append((part, 1000 * (now - self._started)))
        self._started = now

    def watch_gil(self, part: str) -> None:
        """Nobody asks."""

    def count(self, what: str) -> None:
        """Nothing is counted."""

    def long_wait(self, host: str) -> None:
        """Nobody else waits."""

    def long_wait_over(self) -> None:
        """Nobody else waits."""


def _transform(
    content: bytes, steps: "tuple[Step, ...]", folder: str, format: str
) -> "tuple[OutputImage, list[tuple[str, float]]]":
    """The image that these steps make, and what the parts of it took, in milliseconds."""
    from batchproc.config import Config
    from batchproc.model import Item, Reply, Source, SourceImage
    from batchproc.pipeline.opening import make_transform

    tables: dict[str, Any] = {
        "job": {"name": "try", "input": "-", "output": folder},
        "output": {"format": format},
        "transform": {"timeout": 600},
    }
    config = Config.from_tables(tables, file=Path(folder) / CONFIG, cores=None)
    (Path(folder) / ".tmp").mkdir()
    parts = _Parts()
    source = Source(index=0, line=1, url="", key=bytes(16))
    item = Item(source=source, value=SourceImage(content=content, reply=Reply(status_code=200)), spans=())
    try:
        return make_transform(config, steps).open()(item, parts), parts.milliseconds
    except (StageError, Reject) as error:
        raise BatchprocError(f"{error.code}: {error}") from error


def _draw(content: bytes, made: Path, output: Path) -> None:
    """Both images side by side, the first as it is displayed, each within `SHOWN_PX`."""
    import io

    from PIL import Image, ImageOps

    with Image.open(io.BytesIO(content)) as first, Image.open(made) as second:
        halves = [ImageOps.exif_transpose(first).convert("RGBA"), second.convert("RGBA")]
    for half in halves:
        half.thumbnail((SHOWN_PX, SHOWN_PX))
    both = Image.new("RGBA", (sum(half.width for half in halves) + 8, max(half.height for half in halves)), "white")
    both.alpha_composite(halves[0])
    both.alpha_composite(halves[1], (halves[0].width + 8, 0))
    try:
        both.convert("RGB").save(output, "PNG")
    except OSError as error:
        raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from error
