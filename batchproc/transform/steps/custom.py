"""A custom step, the user's own, named by its import path. It travels as that name and is looked up by each worker."""

import hashlib
import importlib
import inspect
import pickle
import signal
import sys
import textwrap
import threading
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from msgspec import Struct

from batchproc.errors import Code, Reject, StageError
from batchproc.redact import printable, redact_text
from batchproc.signals import raise_stopped

if TYPE_CHECKING:
    from PIL import Image

    from batchproc.transform.modes import View

Marked = TypeVar("Marked", bound=Callable[..., object])

_MESSAGE_LIMIT = 300  # characters
_READ_LIMIT = 20_000  # of them are looked at: secrets have to be found before the text is cut


class CustomStepError(ValueError):
    """The name does not lead to a usable step; the text says why."""


class CustomStep(Struct, frozen=True, kw_only=True):
    """A function `(Image) -> Image`, or a frozen dataclass with `__call__` of that shape whose fields are `keys`.

    Only names and plain values travel to a worker, which imports the module itself, with `search_path` in its
    `sys.path`. The call runs in the worker; `Reject` drops the picture, whatever else is raised is `step.error`.
    """

    path: str  # package.module:name
    keys: tuple[tuple[str, Any], ...] = ()
    search_path: str = ""
    version: str = ""  # of the step, where it has one: part of the plan's fingerprint
    source: str = ""  # what tells its source from another; in the fingerprint where there is no version
    holds_gil: bool | None = None  # as it declares; None: it does not say

    def open(self) -> "OpenedStep":
        """Imports the step. Raises `CustomStepError`."""
        call = prepared(load(self.path, self.search_path), dict(self.keys), self.path)
        return OpenedStep(op=self.path, call=call, holds_gil=self.holds_gil)

    def __call__(self, image: "Image.Image") -> "Image.Image":
        """Imports and runs the step; workers open it once instead."""
        return self.open()(image)


class OpenedStep(Struct, frozen=True, kw_only=True):
    """An imported step. Not picklable, and never sent."""

    op: str  # its path
    call: "Callable[[Image.Image], object]"
    holds_gil: bool | None = None

    def __call__(self, image: "Image.Image") -> "Image.Image":
        """Runs the step; raises `Reject`, or `StageError` (step.error, image.memory)."""
        from PIL import Image  # of no use to who only names a step

        from batchproc.transform.modes import to_working_mode

        try:
            made = self.call(image)
            if isinstance(made, Image.Image) and all(made.size):
                made.load()
                return to_working_mode(made)
        except Reject as reject:
            raise self._as_told(reject) from None
        except MemoryError:
            raise StageError(Code.IMAGE_MEMORY, f"not enough memory in step {self.op}") from None
        # The user's code may raise anything; an interrupt in here is its own too: during a run a signal raises nothing.
        except BaseException as error:
            raise StageError(Code.STEP_ERROR, f"step {self.op} raised {_told(error)}") from error
        raise self._refusal(made)

    def apply(self, image: "Image.Image", view: "View") -> "tuple[Image.Image, View]":
        """The step, and the view of what it made."""
        made = self(image)
        return made, view.then(made)

    def _as_told(self, reject: Reject) -> Reject:
        """The user's rejection with a reason that may be shown; a subclass may not even have one."""
        reason = _shown(getattr(reject, "reason", "")) or f"rejected by step {self.op}"
        return Reject(reason, code=getattr(reject, "code", Code.CHECK_REJECTED))

    def _refusal(self, made: object) -> StageError:
        """Why what the step returned is no picture."""
        from PIL import Image

        if isinstance(made, Image.Image):
            message = f"step {self.op} returned an image of {made.width} x {made.height} px"
            return StageError(Code.STEP_ERROR, message, hint="return at least one pixel, or raise batchproc.Reject")
        message = f"step {self.op} returned {_shown(type(made).__name__)}, not an image"
        return StageError(Code.STEP_ERROR, message, hint="return a PIL.Image.Image")


@overload
def step(found: Marked, /) -> Marked: ...
@overload
def step(*, version: str = "", holds_gil: bool | None = None) -> Callable[[Marked], Marked]: ...
def step(
    found: Callable[..., object] | None = None, /, *, version: str = "", holds_gil: bool | None = None
) -> object:
    """Marks a function `(Image) -> Image`, or a frozen dataclass with such a `__call__`, as a step: `@batchproc.step`.

    Checks at once what the config would complain about, and returns it as it is. `version` stands for its source in
    the plan: images are made again when it changes, and not for every edit. `holds_gil` says whether the step keeps the
    GIL while it works (a loop in Python does, most of NumPy and Pillow does not), so that modes can be compared without
    a measurement. Raises `CustomStepError`.

    >>> from dataclasses import dataclass
    >>> from PIL import Image
    >>> @step(version="1")
    ... @dataclass(frozen=True)
    ... class Border:
    ...     width_px: int = 10
    ...     def __call__(self, image: Image.Image) -> Image.Image:
    ...         return image
    >>> Border.version
    '1'
    """
    if found is None:
        return partial(step, version=version, holds_gil=holds_gil)
    path = f"{found.__module__}:{found.__qualname__}"
    if isinstance(found, type):
        _check_class(found, path)
    elif not inspect.isfunction(found):
        raise CustomStepError(f"{path} is neither a function nor a class")
    if "<locals>" in path:
        raise CustomStepError(f"{path} cannot be found by its name: define it at the top level of its module")
    if version:
        found.version = version  # type: ignore[union-attr]
    if holds_gil is not None:
        found.holds_gil = holds_gil  # type: ignore[union-attr]
    return found


def load(path: str, search_path: str = "") -> object:
    """What `package.module:name` leads to. Raises `CustomStepError`, also when the import itself fails."""
    module_name, _, name = path.partition(":")
    if search_path and search_path not in sys.path:
        sys.path.append(search_path)
        importlib.invalidate_caches()
    try:
        found: object = importlib.import_module(module_name)
    except BaseException as error:  # importing runs the user's code
        if isinstance(error, KeyboardInterrupt) and _may_be_the_users():
            raise
        raise CustomStepError(f"module {module_name} cannot be imported: {_told(error)}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise CustomStepError(f"module {module_name} has no {name}") from None
    return found


def prepared(found: object, keys: dict[str, Any], path: str) -> "Callable[[Image.Image], object]":
    """The callable for these keys: a function as it is, a dataclass made from them. Raises `CustomStepError`."""
    if not callable(found):
        raise CustomStepError(f"{path} is a {type(found).__name__}, not a function or a dataclass with __call__")
    _check_pickling(found, path)
    if isinstance(found, type):
        return _instance(found, keys, path)
    if keys:
        raise CustomStepError(f"{path} is a function and takes no keys; a frozen dataclass takes them as its fields")
    return found


def hash_source(found: object) -> str:
    """Hexadecimal digits that change with the source of a step's function or class; empty where there is no source."""
    try:
        source = inspect.getsource(found if inspect.isroutine(found) or isinstance(found, type) else type(found))
    except (OSError, TypeError):  # written in C, or shipped without its source
        return ""
    lines = (line.rstrip() for line in textwrap.dedent(source).strip().splitlines())
    return hashlib.blake2b("\n".join(lines).encode("utf-8", "backslashreplace"), digest_size=16).hexdigest()


def _check_class(found: type, path: str) -> None:
    """A frozen dataclass, or a frozen `msgspec.Struct`, whose instances can be called."""
    declared = getattr(found, "__dataclass_params__", None) or getattr(found, "__struct_config__", None)
    if not getattr(declared, "frozen", False):
        raise CustomStepError(f"{path} is a class, but not a frozen dataclass or Struct")
    if "__call__" not in dir(found):  # of its instances: every class can itself be called
        raise CustomStepError(f"{path} has no __call__")


def _instance(found: type, keys: dict[str, Any], path: str) -> "Callable[[Image.Image], object]":
    _check_class(found, path)
    try:
        made: Callable[[Image.Image], object] = found(**keys)
    except BaseException as error:  # the user's own checks
        raise CustomStepError(f"{path} refuses its keys: {_told(error)}") from error
    return made


def _check_pickling(found: object, path: str) -> None:
    """A step must be found again by its own name: lambdas and inner functions are not."""
    try:
        again = pickle.loads(pickle.dumps(found))
    except (pickle.PicklingError, AttributeError, TypeError, ImportError) as error:
        message = f"{path} cannot be pickled by name ({type(error).__name__}): define it at the top level of its module"
        raise CustomStepError(message) from error
    if isinstance(found, type) and again is not found:
        raise CustomStepError(f"{path} is another object under its own name")


def _told(error: BaseException) -> str:
    """Class and message of an exception of the user's, as `_shown` shows them."""
    name, text = type(error).__name__, _shown(error)
    return _shown(f"{name}: {text}") if text else _shown(name)


def _shown(value: object) -> str:
    """What a value of the user's says, on one short line and without secrets; empty when it cannot say it."""
    try:
        text = str(value)[:_READ_LIMIT]
    except BaseException:  # noqa: BLE001 - `__str__` is the user's code too
        return ""
    shown = printable(redact_text(" ".join(text.split())))
    return shown if len(shown) <= _MESSAGE_LIMIT else shown[: _MESSAGE_LIMIT - 3] + "..."


def _may_be_the_users() -> bool:
    """Whether Ctrl-C raises KeyboardInterrupt here: in the main thread, as long as no run hears it instead."""
    here = threading.current_thread() is threading.main_thread()
    return here and signal.getsignal(signal.SIGINT) in (signal.default_int_handler, raise_stopped)
