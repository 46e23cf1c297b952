"""Files of this machine in place of a server's: read where the config allows it, below the folders that it names.

A URL is untrusted like any other: no link leads out of those folders, no device or pipe is opened for reading, and no
more is read than may be downloaded. A file's size and time of change stand for the validators of a reply.
"""

import errno
import os
import stat
from collections.abc import Sequence
from email.utils import formatdate
from typing import NoReturn
from urllib.parse import unquote_to_bytes

from batchproc.errors import Code, StageError
from batchproc.model import Fetch, Reply, SourceImage
from batchproc.protocols import Lap

SCHEME = "file:"
NOT_MODIFIED, OK = 304, 200  # as a server would say
_PIECE_BYTES = 65_536
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC  # a pipe must not be waited for
_CODES = {
    errno.ENOENT: Code.FILE_MISSING,
    errno.ENOTDIR: Code.FILE_MISSING,
    errno.ENAMETOOLONG: Code.FILE_MISSING,
    errno.ELOOP: Code.FILE_OUTSIDE,  # a link took the place of what was looked at
    errno.ENXIO: Code.FILE_KIND,
    errno.ENODEV: Code.FILE_KIND,
    errno.EMFILE: Code.LOCAL_FILES,
    errno.ENFILE: Code.LOCAL_FILES,
    errno.ENOMEM: Code.LOCAL_MEMORY,
}


class LocalFiles:
    """Reads files below `roots`. Thread-safe: it only knows where they are."""

    def __init__(self, roots: Sequence[str], max_bytes: int) -> None:
        self._roots = [os.path.realpath(os.fsencode(root)) for root in roots]
        self._max_bytes = max_bytes

    def __call__(self, url: str, fetch: Fetch, lap: Lap) -> SourceImage:
        """The file's content, empty where it is as it was. Books `first_byte` and `body`. Raises `StageError`."""
        if not self._roots:
            raise StageError(Code.POLICY_SCHEME, "only http and https are downloaded")
        try:
            descriptor = self._open(_path_of(url))
            try:
                facts = os.fstat(descriptor)
                self._check(facts)
                lap("first_byte")
                etag = f'"{facts.st_size:x}-{facts.st_mtime_ns:x}"'
                is_known = fetch.etag == etag
                content = b"" if is_known else _read(descriptor, facts.st_size, self._max_bytes)
                lap("body")
            finally:
                os.close(descriptor)
        except OSError as error:
            code = _CODES.get(error.errno or 0, Code.FILE_UNREADABLE)
            raise StageError(code, os.strerror(error.errno) if error.errno else "cannot be read") from error
        if len(content) > self._max_bytes:
            self._refuse_large(len(content))
        return SourceImage(
            content=content,
            reply=Reply(
                status_code=NOT_MODIFIED if is_known else OK,
                etag=etag,
                last_modified=formatdate(facts.st_mtime, usegmt=True),
                final_url=url,
                attempts=fetch.attempt,
            ),
        )

    def _open(self, path: bytes) -> int:
        """A descriptor of the file, reached from its root without following a link: what `realpath` saw is the way."""
        real = os.path.realpath(path)
        root = next((root for root in self._roots if real.startswith(root.rstrip(b"/") + b"/")), None)
        if root is None:
            raise StageError(Code.FILE_OUTSIDE, "the file is not below a folder that the config names")
        *folders, name = real[len(root) :].strip(b"/").split(b"/")
        place = os.open(root, _FOLDER)
        try:
            for folder in folders:
                above, place = place, os.open(folder, _FOLDER, dir_fd=place)
                os.close(above)
            return os.open(name, _FILE, dir_fd=place)
        finally:
            os.close(place)

    def _check(self, facts: os.stat_result) -> None:
        if not stat.S_ISREG(facts.st_mode):
            raise StageError(Code.FILE_KIND, "a folder, device, pipe or socket")
        if facts.st_size > self._max_bytes:
            self._refuse_large(facts.st_size)

    def _refuse_large(self, size_bytes: int) -> NoReturn:
        raise StageError(Code.TOO_LARGE, f"{size_bytes} bytes, the limit is {self._max_bytes}")


def _path_of(url: str) -> bytes:
    authority, slash, path = url.removeprefix(f"{SCHEME}//").partition("/")
    decoded = unquote_to_bytes(path)
    if authority or not slash or "?" in path or "#" in path or b"\0" in decoded:
        raise StageError(Code.INPUT_URL, "this is not the URL of a file, as file:///srv/photos/a.jpg")
    return b"/" + decoded


def _read(descriptor: int, size: int, most: int) -> bytes:
    """All there is, of which `size` bytes are expected; of a file that grows meanwhile little more than `most`."""
    pieces, got = [], 0
    while got <= most and (piece := os.read(descriptor, max(size + 1 - got, _PIECE_BYTES))):
        pieces.append(piece)
        got += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)
