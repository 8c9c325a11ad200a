"""Does a value fit a constructor's parameter?"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from sundog.kernel.fitting import Fitter, Made, is_spec


class Role: ...


class Player(Role): ...


class Other: ...


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True)
class Limits:
    low: float
    high: float = 1.0


Rate = Annotated[float, msgspec.Meta(ge=0, le=1)]


def fit(value: Any, hint: Any) -> tuple[Any, list[str]]:
    """Fit one value; a spec makes a Player, or what its path says."""
    kinds = {"player": Player, "other": Other}
    fitter = Fitter(lambda spec, _at, _hint: Made(kinds[spec.get("ref") or spec["name"]], kinds[spec.get("ref") or spec["name"]]()))
    fitted = fitter.fit(value, hint, "args.x")
    return fitted, [f"{misfit.at}: {misfit}" for misfit in fitter.misfits]


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (3, int, 3),
        (3, float, 3.0),
        (None, int | None, None),
        ("red", Colour, Colour.RED),
        ("a", Literal["a", "b"], "a"),
        (0.5, Rate, 0.5),
        ([1, 2], tuple[int, float], (1, 2.0)),
        ([1, 2], list[float], [1.0, 2.0]),
        (["a"], Sequence[str], ["a"]),
        (["a"], Iterable[str] | None, ["a"]),
        (["a"], list[str] | tuple[str, ...], ["a"]),
        ("a", list[str] | str, "a"),
        ({"a": 1}, dict[str, float], {"a": 1.0}),
        ({"1": "x"}, dict[int, str], {1: "x"}),
        ({"a": 1}, Mapping[str, Any], {"a": 1}),
        ("a/b", Path, Path("a/b")),
        ({"low": 0}, Limits, Limits(0.0)),
        ({"low": 0}, Limits | None, Limits(0.0)),
        (1, Any, 1),
    ],
)
def test_what_fits(value: Any, hint: Any, expected: Any) -> None:
    assert fit(value, hint) == (expected, [])


@pytest.mark.parametrize(
    ("value", "hint", "message"),
    [
        ("three", int, 'args.x: wanted int, got "three"'),
        (True, int, "args.x: wanted int, got true"),
        (1.5, Rate, "args.x: wanted float <= 1.0, got 1.5"),
        ("green", Colour, 'args.x: wanted one of "red", "blue", got "green"'),
        ("c", Literal["a", "b"] | None, 'args.x: wanted one of "a", "b", got "c"'),
        ([1, "b"], list[int], 'args.x[1]: wanted int, got "b"'),
        ({"k": [1, "b"]}, dict[str, list[int]], 'args.x.k[1]: wanted int, got "b"'),
        ([1, 2, 3], tuple[int, int], "args.x: wanted 2 items, got [1, 2, 3]"),
        (3, list[str] | str, "args.x: wanted str | array, got 3"),
        ({"a": 1}, int | str, 'args.x: wanted int or str, got {"a": 1}'),
        (1, Callable[[int], int], "args.x: wanted Callable, got 1"),
        ([], Annotated[list[int], msgspec.Meta(min_length=1)], "args.x: wanted array of length >= 1, got []"),
        ("player", Role, 'args.x: wanted a Role ({"name": …}, {"path": …} or {"ref": …}), got "player"'),
        ({"low": 0, "hight": 3}, Limits, "args.x.hight: wanted one of the keys high, low, got 3"),
        ("x" * 100, int, 'args.x: wanted int, got "' + "x" * 56 + "…"),
    ],
)
def test_what_does_not_fit(value: Any, hint: Any, message: str) -> None:
    assert fit(value, hint)[1] == [message]


def test_all_misfits_of_a_value_are_found() -> None:
    assert fit(["a", 1, "b"], list[int])[1] == ['args.x[0]: wanted int, got "a"', 'args.x[2]: wanted int, got "b"']


@pytest.mark.parametrize(
    "hint", [Role, Role | None, Role | str, Any, Any | None, Callable[[int], int], list[Role], dict[str, Role], Role | Other]
)
def test_a_spec_becomes_an_object_where_one_is_wanted(hint: Any) -> None:
    spec = {"name": "player"}
    value: Any = [spec] if "list" in str(hint) else {"key": spec} if "dict" in str(hint) else spec

    fitted, wrong = fit(value, hint)

    made = fitted[0] if isinstance(fitted, list) else fitted["key"] if isinstance(fitted, dict) else fitted
    assert (type(made), wrong) == (Player, [])


@pytest.mark.parametrize("hint", [dict, dict[str, Any], Mapping[str, str], dict | None])
def test_where_a_dict_is_wanted_a_dict_stays(hint: Any) -> None:
    assert fit({"name": "player"}, hint) == ({"name": "player"}, [])


def test_an_object_of_another_role_is_refused() -> None:
    assert fit({"ref": "other"}, Role)[1] == ['args.x: wanted a Role ({"name": …}, {"path": …} or {"ref": …}), got an Other']


def test_what_looks_like_a_spec() -> None:
    assert is_spec({"path": "a.B", "args": {}})
    assert is_spec({"ref": "a"})
    assert not is_spec({"path": "a.B", "more": 1})
    assert not is_spec({"name": 3})
    assert not is_spec({"args": {}})
