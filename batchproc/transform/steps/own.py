"""A step of the user's own, named by its import path. It travels as that name and is looked up by each worker."""

import importlib
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any, Protocol

from PIL import Image

from batchproc.errors import Code, Reject, StageError
from batchproc.transform.modes import to_working_mode

_MESSAGE_LIMIT = 300


class OwnStepError(ValueError):
    """The name does not lead to a usable step; the text says why."""


class Opened(Protocol):
    """What `OwnStep.open` gives."""

    def __call__(self, image: Image.Image, /) -> Image.Image: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnStep:
    """A function `(Image) -> Image`, or a frozen dataclass with `__call__` of that shape whose fields are `keys`.

    Only names and plain values travel to a worker, which imports the module itself, with `search_path` in its
    `sys.path`. The call runs in the worker; `Reject` drops the picture, any other exception is `step.error`.
    """

    path: str  # package.module:name
    keys: tuple[tuple[str, Any], ...] = ()
    search_path: str = ""
    version: str = ""  # of the step, where it has one: part of the plan's fingerprint

    def open(self) -> "OpenedOwnStep":
        """Imports the step. Raises `OwnStepError`."""
        call = prepared(load(self.path, self.search_path), dict(self.keys), self.path)
        return OpenedOwnStep(path=self.path, call=call)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Imports and runs the step; workers open it once instead."""
        return self.open()(image)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedOwnStep:
    """An imported step. Not picklable, and never sent."""

    path: str
    call: Callable[[Image.Image], object]

    def __call__(self, image: Image.Image) -> Image.Image:
        """Runs the step; raises `Reject`, or `StageError` (step.error, image.memory)."""
        try:
            made = self.call(image)
            if isinstance(made, Image.Image):
                made.load()
                return to_working_mode(made)
        except Reject:
            raise
        except MemoryError:
            raise StageError(Code.IMAGE_MEMORY, f"not enough memory in step {self.path}") from None
        except (Exception, SystemExit) as error:  # the user's code may raise anything
            raise StageError(Code.STEP_ERROR, f"step {self.path} raised {_told(error)}") from error
        message = f"step {self.path} returned {type(made).__name__}, not an image"
        raise StageError(Code.STEP_ERROR, message, hint="return a PIL.Image.Image")


def load(path: str, search_path: str = "") -> object:
    """What `package.module:name` leads to. Raises `OwnStepError`, also when the import itself fails."""
    module_name, _, name = path.partition(":")
    if search_path and search_path not in sys.path:
        sys.path.append(search_path)
        importlib.invalidate_caches()
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # importing runs the user's code
        raise OwnStepError(f"module {module_name} cannot be imported: {_told(error)}") from error
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise OwnStepError(f"module {module_name} has no {name}") from None
    return found


def prepared(found: object, keys: dict[str, Any], path: str) -> Callable[[Image.Image], object]:
    """The callable for these keys: a function as it is, a dataclass made from them. Raises `OwnStepError`."""
    if not callable(found):
        raise OwnStepError(f"{path} is a {type(found).__name__}, not a function or a dataclass with __call__")
    _check_pickling(found, path)
    if isinstance(found, type):
        return _instance(found, keys, path)
    if keys:
        raise OwnStepError(f"{path} is a function and takes no keys; a frozen dataclass takes them as its fields")
    return found


def _instance(found: type, keys: dict[str, Any], path: str) -> Callable[[Image.Image], object]:
    if not is_dataclass(found) or not found.__dataclass_params__.frozen:  # type: ignore[attr-defined]
        raise OwnStepError(f"{path} is a class, but not a frozen dataclass")
    try:
        made = found(**keys)
    except Exception as error:  # the user's own checks
        raise OwnStepError(f"{path} refuses its keys: {_told(error)}") from error
    if not callable(made):
        raise OwnStepError(f"{path} has no __call__")
    return made


def _check_pickling(found: object, path: str) -> None:
    """A step must be found again by its own name: lambdas and inner functions are not."""
    try:
        again = pickle.loads(pickle.dumps(found))
    except (pickle.PicklingError, AttributeError, TypeError, ImportError) as error:
        message = f"{path} cannot be pickled by name ({type(error).__name__}): define it at the top level of its module"
        raise OwnStepError(message) from error
    if isinstance(found, type) and again is not found:
        raise OwnStepError(f"{path} is another object under its own name")


def _told(error: BaseException) -> str:
    """Class and message of an exception of the user's, on one line."""
    text = " ".join(str(error).split())
    told = f"{type(error).__name__}: {text}" if text else type(error).__name__
    printable = "".join(character if character.isprintable() else "?" for character in told)
    return printable if len(printable) <= _MESSAGE_LIMIT else printable[: _MESSAGE_LIMIT - 3] + "..."
