"""What a step is, and how its keys are checked, explained and described: each key says once what it accepts.

A step is a frozen value that is called with an image and returns one. The program's own derive from `BuiltIn`; some
kinds of them know more than pixels.
"""

import json
import math
import re
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from msgspec import Struct
from msgspec.structs import FieldInfo, fields, force_setattr

from batchproc.record.run_parts import Cost
from batchproc.transform.steps.custom import CustomStep

if TYPE_CHECKING:
    from PIL import Image

    from batchproc.transform.modes import Size, View


class Int(Struct, frozen=True, kw_only=True):
    """A whole number within bounds."""

    at_least: int
    at_most: int
    odd: bool = False
    unit: str = ""

    @property
    def allowed(self) -> str:
        kind = "an odd" if self.odd else "a whole"
        return f"{kind} number from {self.at_least} to {self.at_most}{_spaced(self.unit)}"

    def clean(self, value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not self.at_least <= value <= self.at_most:
            raise ValueError
        if self.odd and value % 2 == 0:
            raise ValueError
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "integer", "minimum": self.at_least, "maximum": self.at_most}


class Float(Struct, frozen=True, kw_only=True):
    """A number within bounds; `above` is a bound that is itself not allowed."""

    at_least: float | None = None
    above: float | None = None
    at_most: float
    unit: str = ""

    @property
    def allowed(self) -> str:
        low = f"above {self.above:g} and up to" if self.above is not None else f"from {self.at_least:g} to"
        return f"a number {low} {self.at_most:g}{_spaced(self.unit)}"

    def clean(self, value: object) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise ValueError
        too_low = value <= self.above if self.above is not None else value < (self.at_least or 0)
        if too_low or value > self.at_most:
            raise ValueError
        return float(value)

    def schema(self) -> dict[str, Any]:
        low = {"exclusiveMinimum": self.above} if self.above is not None else {"minimum": self.at_least}
        return {"type": "number", **low, "maximum": self.at_most}


class OneOf(Struct, frozen=True, kw_only=True):
    """One of some words."""

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "one of " + ", ".join(self.choices)

    def clean(self, value: object) -> str:
        if not isinstance(value, str) or value not in self.choices:
            raise ValueError
        return value

    def schema(self) -> dict[str, Any]:
        return {"enum": list(self.choices)}


class Some(Struct, frozen=True, kw_only=True):
    """A list of some words, at least one."""

    choices: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return "a list of some of " + ", ".join(self.choices)

    def clean(self, value: object) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not value or not set(value) <= set(self.choices):
            raise ValueError
        return tuple(dict.fromkeys(value))

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": {"enum": list(self.choices)}, "minItems": 1}


class Bool(Struct, frozen=True, kw_only=True):
    """True or false."""

    @property
    def allowed(self) -> str:
        return "true or false"

    def clean(self, value: object) -> bool:
        if not isinstance(value, bool):
            raise ValueError
        return value

    def schema(self) -> dict[str, Any]:
        return {"type": "boolean"}


class Colour(Struct, frozen=True, kw_only=True):
    """A colour as `#rrggbb`, or empty for what the step says about it."""

    @property
    def allowed(self) -> str:
        return 'a colour like "#ffffff"'

    def clean(self, value: object) -> str:
        if not isinstance(value, str) or not (value == "" or re.fullmatch(r"#[0-9a-fA-F]{6}", value)):
            raise ValueError
        return value.lower()

    def schema(self) -> dict[str, Any]:
        return {"type": "string", "pattern": "^(#[0-9a-fA-F]{6})?$"}


class Ints(Struct, frozen=True, kw_only=True):
    """So many whole numbers, each within the same bounds; `words` says it for a person."""

    count: int
    each: Int
    words: str

    @property
    def allowed(self) -> str:
        return self.words

    def clean(self, value: object) -> tuple[int, ...]:
        if not isinstance(value, list | tuple) or len(value) != self.count:
            raise ValueError
        return tuple(self.each.clean(part) for part in value)

    def schema(self) -> dict[str, Any]:
        return {"type": "array", "items": self.each.schema(), "minItems": self.count, "maxItems": self.count}


KeyType: TypeAlias = Int | Float | OneOf | Some | Bool | Colour | Ints  # what a key accepts


class Key(Struct, frozen=True, kw_only=True):
    """One key of a step, as its class declares it."""

    name: str
    kind: KeyType
    help: str
    required: bool
    default: Any  # None when required, or when the key may be left out

    @property
    def default_toml(self) -> str:
        """As it stands in a config; empty when there is none."""
        return "" if self.required or self.default is None else json.dumps(self.default)


@cache
def keys_of(step: "type[BuiltIn]") -> tuple[Key, ...]:
    """The keys of a step's class, in order."""
    return tuple(map(_declared, fields(step)))


def _declared(one: FieldInfo) -> Key:
    kind, text = one.type.__metadata__
    return Key(
        name=one.name, kind=kind, help=text, required=one.required, default=None if one.required else one.default
    )


def error_of(kind: KeyType, value: object) -> str | None:
    """What is wrong with `value`, the value quoted, or None."""
    try:
        kind.clean(value)
    except ValueError:
        return f"{quoted(value)}: must be {kind.allowed}"
    return None


def quoted(value: object) -> str:
    """A value as it stands in TOML, near enough, cut when long."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."


def _spaced(unit: str) -> str:
    return f" {unit}" if unit else ""


class StepCost(Struct, frozen=True, kw_only=True):
    """What a built-in step does with the machine, as `python -m tests.campaign.beside` measured it.

    `holds_gil`: while it works on pixels. `overhead_us`: Python around that, per image.
    """

    holds_gil: bool
    cost: Cost
    overhead_us: float

    @property
    def cost_words(self) -> str:
        """What it costs per pixel."""
        return _COST_WORDS[self.cost]


_COST_WORDS = {
    Cost.NONE: "nothing: it looks at no pixel",
    Cost.LOW: "less than 3 ns",
    Cost.MEDIUM: "3 to 12 ns",
    Cost.HIGH: "more than 12 ns",
}


class BuiltIn(Struct, frozen=True, kw_only=True):
    """A step of the program: it validates its keys as it is made, and is described by itself.

    A key is a field of type `Annotated[its type, what it accepts, help]`. Without a default it is required; None means
    that it may be left out.
    """

    op: ClassVar[str]
    work: ClassVar[StepCost]
    version: ClassVar[int] = 1  # raised when it begins to make other pixels from the same keys
    example: ClassVar[dict[str, object]]  # its keys, as in TOML
    takes_scaled: ClassVar[bool] = False  # it may run on a scaled decode: linear pixel by pixel, or looks at none

    def __post_init__(self) -> None:
        """Checks the keys and gives each its own type (lists become tuples, 2 becomes 2.0 where numbers are meant).

        Raises ValueError with every error, as `size = [0, 10]: must be two whole numbers of 1 px or more`.
        """
        keys = [(one, getattr(self, one.name)) for one in keys_of(type(self))]
        given = [(one, value) for one, value in keys if value is not None or one.required]
        wrong = [f"{one.name} = {error}" for one, value in given if (error := error_of(one.kind, value))]
        if wrong:
            raise ValueError("; ".join(wrong))
        for one, value in given:
            force_setattr(self, one.name, one.kind.clean(value))

    def __call__(self, image: "Image.Image", /) -> "Image.Image":
        """The step on an image that stands for itself, of mode L, LA, RGB or RGBA; returns one of those."""
        raise NotImplementedError

    def apply(self, image: "Image.Image", view: "View") -> "tuple[Image.Image, View]":
        """The step on pixels that stand for the picture of `view`, and the view of what it made."""
        made = self(image)
        return made, view if self.takes_scaled else view.then(made)

    def scaled_size(self, _size: "Size") -> "Size | None":
        """The size that a whole picture is scaled to, before any cut; None: it is not scaled."""
        return None

    @classmethod
    def summary(cls) -> str:
        """What it does, in a sentence."""
        return (cls.__doc__ or "").partition("\n")[0]

    @classmethod
    def details(cls) -> str:
        """What there is to know besides."""
        return " ".join((cls.__doc__ or "").partition("\n")[2].split())

    @classmethod
    def example_toml(cls) -> str:
        """Its example as it stands in a config."""
        keys = (f"{name} = {json.dumps(value)}" for name, value in cls.example.items())
        return "\n".join(("[[transform.steps]]", f'op = "{cls.op}"', *keys))

    @classmethod
    def json_schema(cls) -> dict[str, Any]:
        """The JSON Schema of its table."""
        keys = keys_of(cls)
        return {
            "type": "object",
            "description": cls.summary(),
            "properties": {
                "op": {"const": cls.op},
                **{one.name: {**one.kind.schema(), "description": one.help} for one in keys},
            },
            "required": ["op", *(one.name for one in keys if one.required)],
            "additionalProperties": False,
        }


class SizeCheck(BuiltIn, frozen=True):
    """A check that looks at the size alone. At the head of the list it runs before anything is decoded."""

    work = StepCost(holds_gil=True, cost=Cost.NONE, overhead_us=5)
    takes_scaled: ClassVar = True

    def __call__(self, image: "Image.Image") -> "Image.Image":
        self.check_size(image.size)
        return image

    def apply(self, image: "Image.Image", view: "View") -> "tuple[Image.Image, View]":
        self.check_size(view.size)
        return image, view

    def check_size(self, size: "Size") -> None:
        """Raises `Reject` when the picture is not wanted. `size` is as displayed."""
        raise NotImplementedError


class FormatCheck(BuiltIn, frozen=True):
    """A check that looks at the source's format alone. It runs before anything is decoded, wherever it stands."""

    def check_format(self, kind: str) -> None:
        """Raises `Reject` when the picture is not wanted. `kind` is a word of `[transform] formats`."""
        raise NotImplementedError


class Unlike(BuiltIn, frozen=True, kw_only=True):
    """Keeps one of images that look alike, which is decided over the whole job when a run ends."""

    bits: int  # the largest difference of two hashes that counts as alike

    def hash_of(self, image: "Image.Image") -> str:
        """The hash of the finished image."""
        raise NotImplementedError


Step: TypeAlias = BuiltIn | CustomStep  # one of a plan: free of shared state, picklable
