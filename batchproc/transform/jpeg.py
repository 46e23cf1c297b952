"""JPEGs, decoded so that pixels which libjpeg had to invent are a failure: entropy-coded data that ends early.

libjpeg fills in what is missing and says so in a warning that Pillow does not pass on. But its decoder suspends when
its source has no more bytes *for now*, and Pillow's shows that. So the data of each scan is handed over without the
marker that ends it: a decoder that asks for more lacks it. Nothing is decoded twice, and where a file has one scan, no
restart markers and its end at its end, no byte behind its header is looked at: the proof costs 0.02 ms.

1. All but the last bytes of a scan. A decoder that needs no more has met a marker in the middle, or the data goes on
   behind the last pixel and may not be the picture's own: the code words are read one by one (`jpeg_codes`).
2. The rest, and padding, so that the decoder can look ahead. Now it has to be done.

Between two scans, or two restart markers, a decoder that is done skips all that is no marker, and one that is not done
gathers bits for its next look ahead: a single byte tells them apart. Restart markers have to be all there and in their
order, and the scans of a progressive file have to send every bit of every coefficient.

What cannot be seen: one or two blocks of 8 x 8 px that are missing at the very end (the padding decodes to as many),
damage that leaves as many code words as there were, and, as arithmetic-coded data may end early by the standard, a cut
of it that decodes with `_ARITHMETIC_ZEROS` behind it.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from math import ceil
from typing import Any

from PIL import Image

from batchproc.errors import Code, StageError
from batchproc.transform.display import UPRIGHT, Box, Display, read_orientation
from batchproc.transform.jpeg_codes import complaint_about
from batchproc.transform.jpeg_frame import (
    Frame,
    Scan,
    Segment,
    Span,
    goes_on,
    has_its_bits,
    parts_of,
    read_frame,
    scan_after,
    unsent,
)

_MODES = {1: ("L", "L"), 3: ("RGB", "RGB"), 4: ("CMYK", "CMYK;I")}  # by components; inverted, as Adobe writes them
_JFIF, _EXIF, _ICC_OR_MP, _ADOBE = 0xE0, 0xE1, 0xE2, 0xEE  # application segments
_EXIF_HEAD, _ICC_HEAD, _ICC_PART = b"Exif\0\0", b"ICC_PROFILE\0", 14  # behind that head: which part, of how many
_ADOBE_TRANSFORM_AT = 11
_EOI = b"\xff\xd9"
_PADDING = b"\xff\x00" * 8  # 64 bits, as far as decoders look ahead, all ones: no code word begins so (F.1.2.1)
_PROBE = b"\x00"
_HELD_BACK_BYTES = 4  # less would do; some writers leave a byte or two behind
_PROVED_BYTES = 256  # restart intervals are proved in groups of at least this many
_ARITHMETIC_ZEROS = bytes(16)  # flat areas at the end need up to 8 (F.1.4: a writer leaves them out), cuts hundreds
_MOST_SCANS = 20  # more are for no picture's good
_SURPLUS_BYTES = 8  # of arithmetic-coded data; no whole one decodes without so many

_Layout = list[list[Span]]  # of every scan the parts of its data


class JpegReader:
    """The picture of a JPEG file. Raises `StageError` for what has no right pixels, SyntaxError for no header.

    Its segments are read here: Pillow's reader takes 0.1 ms to look at tables and resolutions that nobody asks for.
    """

    def __init__(self, content: bytes) -> None:
        frame = read_frame(content)
        if frame is None:
            raise SyntaxError("no whole frame and scan header")
        if variant := frame.odd_variant or _odd_colours(frame):
            raise StageError(Code.IMAGE_UNSUPPORTED, f"{variant} is not supported")
        self._content = content
        self._frame = frame
        self._scale = 1
        self.size = frame.size
        self.mode = _MODES[frame.header[5]][0]
        self.display = _display(frame.applications)

    def scale_down(self, scale: int) -> Box:
        """Has the picture decoded at 1/2, 1/4 or 1/8, if it has blocks that can be scaled: where it will lie then."""
        self._scale = 1 if self._frame.is_lossless else scale
        return (0, 0, self.size[0] / self._scale, self.size[1] / self._scale)

    def pixels(self) -> Image.Image:
        """All pixels. Raises `StageError`: truncated, image.corrupt; and OSError, as Pillow would."""
        width, height = self.size
        image = Image.new(self.mode, (ceil(width / self._scale), ceil(height / self._scale)), None)
        decoding = _Decoding(self._content, self._frame, image, self._scale)
        try:
            decoding.decode()
        finally:
            decoding.end()
        return image


def _odd_colours(frame: Frame) -> str:
    """What is wrong with a lossless JPEG's colours: libjpeg-turbo does not convert them."""
    if not frame.is_lossless:
        return ""
    adobe = next((segment for marker, segment in reversed(frame.applications) if marker == _ADOBE), b"")
    is_converted = adobe.startswith(b"Adobe") and any(adobe[_ADOBE_TRANSFORM_AT : _ADOBE_TRANSFORM_AT + 1])
    is_jfif = any(marker == _JFIF and segment.startswith(b"JFIF") for marker, segment in frame.applications)
    return "a lossless JPEG in YCbCr or YCCK" if is_converted or (is_jfif and frame.header[5] == 3) else ""


def _display(applications: Sequence[Segment]) -> Display:
    """From EXIF and the ICC profile, which may stand in several segments."""
    exif, parts = b"", []
    for marker, segment in applications:
        if marker == _EXIF and segment.startswith(_EXIF_HEAD):
            exif += segment[len(_EXIF_HEAD) :]
        elif marker == _ICC_OR_MP and segment.startswith(_ICC_HEAD):
            parts.append(segment)
    parts.sort()
    is_whole = bool(parts) and [*parts[0][_ICC_PART - 1 : _ICC_PART]] == [len(parts)]
    profile = b"".join(part[_ICC_PART:] for part in parts) if is_whole else b""
    return Display(orientation=read_orientation(exif) if exif else UPRIGHT, colours=(profile,) if profile else ())


class _Decoding:
    """Hands a file to Pillow's codec in parts; the pixels go into `image`. To be ended."""

    def __init__(self, content: bytes, frame: Frame, image: Image.Image, scale: int) -> None:
        self._content = content
        self._frame = frame
        self._image = image
        self._args = (_MODES[frame.header[5]][1], ""), (scale, 0)
        self._codec: Any = None

    def end(self) -> None:
        """Frees what the codec holds."""
        if self._codec is not None:
            self._codec.cleanup()

    def decode(self) -> None:
        """Decodes the file. Raises `StageError`: truncated, image.corrupt."""
        content, frame = self._content, self._frame
        guess = (frame.begin, len(content) - len(_EOI))
        guessed = frame.is_plain and content.endswith(_EOI) and not frame.has_more_pictures
        if guessed and self._feed().give_up_to(content, 0, guess, is_all=True):
            return
        layout = _layout(content, frame)
        if frame.is_arithmetic:
            self._decode_arithmetic(layout)
        elif (guessed and layout == [[guess]]) or not self._is_exact(layout):
            _check_codes(content, frame, layout)

    def _is_exact(self, layout: _Layout) -> bool:
        """Whether there was no more data than pixels. Raises `StageError` where there was less."""
        feed, exact, at = self._feed(), True, 0
        for parts in layout:
            for part in _proved(parts):
                is_all = len(layout) == 1 and part == parts[-1]
                exact &= feed.give_up_to(self._content, at, part, is_all=is_all)
                at = part[1]
        feed.give(_EOI)
        _check(feed.finished)
        return exact and not goes_on(self._content, at)

    def _decode_arithmetic(self, layout: _Layout) -> None:
        """This decoder cannot suspend, it fails instead: without its last bytes it has to, with zeros it must not.

        Every scan is tried by itself, with all before it: these files are rare, and have ten scans at most.
        """
        content = self._content
        begin, end = layout[-1][-1]
        has_surplus = end - begin > 2 * _SURPLUS_BYTES and self._takes(content[: end - _SURPLUS_BYTES])
        tried = layout if len(layout) <= _MOST_SCANS else layout[-1:]
        _check(all(self._takes(content[: parts[-1][1]] + _ARITHMETIC_ZEROS) for parts in tried))
        if has_surplus:
            _check_codes(content, self._frame, layout)

    def _takes(self, content: bytes) -> bool:
        """Whether an arithmetic decoder asks for no more than this."""
        feed = self._feed()
        try:
            feed.give(content)
            feed.give(_EOI)
        except OSError:
            return False
        return feed.finished

    def _feed(self) -> "_Feed":
        """A codec that has seen nothing yet."""
        self.end()
        self._codec = Image._getdecoder(self._image.mode, "jpeg", *self._args)
        self._codec.setimage(self._image.im, (0, 0, *self._image.size))
        return _Feed(self._codec)


class _Feed:
    """Pillow's decoder, given a file part by part, and the bytes that it has not taken yet."""

    def __init__(self, codec: Any) -> None:
        self._codec = codec
        self._rest = b""
        self.finished = False

    def give(self, data: bytes | memoryview) -> None:
        """Lets it decode as far as `data` goes; nothing once it has finished. Raises OSError, as Pillow would."""
        if self.finished:
            return
        pending = b"".join((self._rest, data)) if self._rest else data
        taken, error = self._codec.decode(pending)
        if error:
            raise OSError(f"broken data stream ({error})")
        self.finished = taken < 0
        self._rest = b"" if self.finished else bytes(pending[taken:])

    def skips(self, byte: bytes) -> bool:
        """Gives one more byte. Whether it and all before it were taken, as between two scans.

        Within a scan bits are gathered six bytes at a time or more: not this one by itself.
        """
        all_taken = not self._rest
        self.give(byte)
        return all_taken and not self._rest

    def give_up_to(self, content: bytes, at: int, part: Span, *, is_all: bool) -> bool:
        """Gives all from `at` to the end of a part of a scan's data. Whether less would not have been enough.

        `is_all`: nothing of the picture is behind it. Raises `StageError` where this is not enough.
        """
        begin, end = part
        held = max(begin, end - _HELD_BACK_BYTES)
        while held > begin and 0xFF in content[held - 1 : held + 1]:
            held -= 1
        self.give(memoryview(content)[at:held])
        if is_all:
            early = self.finished
            self.give(content[held:end] + _PADDING)
            _check(self.finished)
        else:
            early = self.skips(content[held : min(end, held + 1)])
            self.give(content[held + 1 : end] + _PADDING + _PROBE)
            _check(self.skips(_PROBE))
        return not early


def _layout(content: bytes, frame: Frame) -> _Layout:
    """Every scan and the ends of its parts. Raises `StageError` where scans or restart markers are not all there."""
    scans: list[Scan] = []
    layout: _Layout = []
    scan: Scan | None = frame.scan
    while scan is not None:
        restarts = frame.restarts(scan)
        parts = parts_of(content, scan, restarts)
        _check(len(parts) > restarts, "restart markers are missing or not in their order")
        scans.append(scan)
        layout.append(parts)
        scan = None if frame.is_one_scan else scan_after(content, parts[-1][1], scan)
    _check(not unsent(frame, scans), "its scans leave out a part of the picture")
    _check(all(map(partial(has_its_bits, content, frame), scans, layout)), "a scan has too few bits")
    return layout


def _proved(parts: list[Span]) -> Iterator[Span]:
    """The parts to be proved: small ones by the last of several, in which an error before it mostly shows."""
    at = 0
    for begin, end in parts:
        at = at or begin
        if end - at >= _PROVED_BYTES or end == parts[-1][1]:
            yield begin, end
            at = 0


def _check(holds: bool, reason: str = "its last pixels have no data") -> None:
    if not holds:
        raise StageError(Code.TRUNCATED, f"the jpeg image ends early: {reason}")


def _check_codes(content: bytes, frame: Frame, layout: _Layout) -> None:
    """More data than pixels: some writers leave bytes behind, and so does a file whose middle was overwritten."""
    readable = frame.is_one_scan and not frame.is_lossless and not frame.is_arithmetic
    complaint = complaint_about(content, frame, layout[0]) if readable else "it has bytes that belong to no pixel"
    if complaint:
        raise StageError(Code.IMAGE_CORRUPT, f"the jpeg image is damaged: {complaint}")
