"""Which parameters does a class's constructor have?"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import jsonschema
import msgspec
import pytest

from sundog.kernel.constructors import component_class, constructor_of, schema_of

if TYPE_CHECKING:
    from torch.nn import Module


class Role: ...


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Limits:
    low: float
    high: float = 1.0


Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


def test_an_annotation_for_type_checkers_only_counts_as_any() -> None:
    class Holder:
        def __init__(self, model: Module, rate: Rate = 0.5, **more: int) -> None: ...

    constructor = constructor_of(Holder)

    assert constructor.parameters["model"].hint is Any
    assert constructor.parameters["rate"].hint == Rate
    assert (constructor.parameters["model"].is_required, constructor.parameters["rate"].is_required) == (True, False)
    assert constructor.is_open


@pytest.mark.parametrize(
    ("hint", "expected"), [(Role | None, Role), (int, None), (Limits, Limits), (Colour, None), (Path, None), (Any, None)]
)
def test_which_class_a_parameter_wants(hint: Any, expected: Any) -> None:
    assert component_class(hint) is expected


def test_the_schema_of_a_class_is_valid_and_says_what_the_check_says() -> None:
    class Component:
        """Shows colours."""

        def __init__(self, player: Role, rate: Rate = 0.5, colours: list[Colour] | None = None) -> None: ...

    schema = schema_of(Component)
    validator = jsonschema.Draft202012Validator(schema)

    jsonschema.Draft202012Validator.check_schema(schema)
    assert (schema["description"], schema["required"]) == ("Shows colours.", ["player"])
    assert validator.is_valid({"player": {"ref": "x"}, "rate": 1, "colours": ["red"]})
    assert not validator.is_valid({"player": {"ref": "x"}, "rate": 2})
    assert not validator.is_valid({"player": {"ref": "x"}, "colours": ["green"]})
    assert not validator.is_valid({"player": {"ref": "x"}, "rat": 1})
