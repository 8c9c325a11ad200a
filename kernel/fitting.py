"""Does a value from a config file fit a constructor's parameter?

Where a parameter wants an object, a dict may describe a component (`{"name" | "path", …}`) or name one
(`{"ref": "id"}`); whoever checks or builds hands in what makes an object of such a dict.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import json
import re
import types
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args, get_origin

import msgspec

from .constructors import component_class, members_of
from .wording import with_article

SPEC_KEYS = ("id", "name", "path", "args", "disabled")

_LISTS = {list: list, tuple: tuple, set: set, frozenset: frozenset}
_ABSTRACT_LISTS = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_EXPECTED = re.compile(r"Expected `(?P<type>.+?)`(?P<bounds>.*?)(, got `.*`)?( - at .*)?$")


@dataclass(frozen=True, slots=True)
class Made:
    """An object that stands for a component; while checking, only its class is known."""

    kind: type
    instance: object = None


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value that does not fit."""

    at: str
    wanted: str
    got: Any

    def __str__(self) -> str:
        text = with_article(self.got.kind.__qualname__) if isinstance(self.got, Made) else json.dumps(self.got, default=repr)
        return f"wanted {self.wanted}, got {text if len(text) <= 60 else text[:57] + '…'}"


def is_spec(value: Any) -> bool:
    """Whether a JSON value describes a component, or names one."""
    if not isinstance(value, dict):
        return False
    if value.keys() == {"ref"}:
        return True
    return isinstance(value.get("path", value.get("name")), str) and value.keys() <= set(SPEC_KEYS)


class Fitter:
    """Fits values to annotations; collects all misfits.

    Args:
        make: makes an object of a dict that is a spec or a reference; given the dict, its JSON path and the annotation.
    """

    def __init__(self, make: Callable[[dict[str, Any], str, Any], Made | None]) -> None:
        self.make = make
        self.misfits: list[Misfit] = []

    def fit(self, value: Any, hint: Any, at: str) -> Any:
        """The value as the annotation wants it: components made, lists and enums converted."""
        if isinstance(value, dict) and self._stands_for_object(value, hint):
            made = self.make(value, at, hint)
            if made is not None and not accepts(hint, made.kind):
                self.misfits.append(Misfit(at, _describe(hint), made))
            return made and made.instance
        if _is_any(hint):
            return self._fit_list(value, [Any] * len(value), at) if isinstance(value, list) else value
        members = list(members_of(hint))
        if isinstance(value, list | dict) and len(members) > 1:
            return self._fit_one_of(value, members, at)
        origin = get_origin(members[0]) or members[0]
        if isinstance(value, list) and (origin in _LISTS or origin in _ABSTRACT_LISTS):
            wanted = _item_hints(members[0], len(value))
            if len(wanted) != len(value):
                self.misfits.append(Misfit(at, f"{len(wanted)} items", value))
            return self._bounded(_LISTS.get(origin, list)(self._fit_list(value, wanted, at)), hint, at)
        if isinstance(value, dict) and origin in _DICTS:
            return self._bounded(self._fit_dict(value, members[0], at), hint, at)
        return self._leaf(value, hint, at)

    def _stands_for_object(self, value: dict[str, Any], hint: Any) -> bool:
        kind = component_class(hint)
        if kind is not None:
            return is_spec(value) or not dataclasses.is_dataclass(kind)
        return is_spec(value) and any(_is_any(member) or _is_callable(member) for member in members_of(hint))

    def _fit_one_of(self, value: Any, members: list[Any], at: str) -> Any:
        before = len(self.misfits)
        likely = [member for member in members if (get_origin(member) or member) not in (str, int, float, bool, types.NoneType)]
        for member in likely:
            fitted = self.fit(value, member, at)
            if len(self.misfits) == before:
                return fitted
            if member is not likely[-1]:
                del self.misfits[before:]
        if not likely:
            self.misfits.append(Misfit(at, " or ".join(map(_describe, members)), value))
        return value

    def _fit_list(self, value: list[Any], hints: list[Any], at: str) -> list[Any]:
        return [
            self.fit(item, hint, f"{at}[{index}]")
            for index, (item, hint) in enumerate(zip(value, hints, strict=False))
            if not (is_spec(item) and item.get("disabled") and self._stands_for_object(item, hint))
        ]

    def _fit_dict(self, value: dict[str, Any], hint: Any, at: str) -> dict[Any, Any]:
        key_hint, value_hint = get_args(hint) or (str, Any)
        fitted = {}
        for key, item in value.items():
            place = f"{at}.{key}"
            name = self._leaf(key, key_hint, place, strict=False)
            fitted[name] = item if _is_any(value_hint) else self.fit(item, value_hint, place)  # in a free dict, all is data
        return fitted

    def _bounded(self, value: Any, hint: Any, at: str) -> Any:
        bounds = [note for note in getattr(hint, "__metadata__", ()) if isinstance(note, msgspec.Meta)]
        return self._leaf(value, Annotated[type(value), *bounds], at) if bounds else value

    def _leaf(self, value: Any, hint: Any, at: str, *, strict: bool = True) -> Any:
        try:
            fitted = msgspec.convert(value, hint, strict=strict, dec_hook=_own_type)
        except msgspec.ValidationError as error:
            self.misfits.append(Misfit(at, _wanted(str(error), hint), value))
            return value
        except TypeError:  # an annotation msgspec does not know, such as Callable: not ours to judge
            return value
        known = {field.name for field in dataclasses.fields(hint)} if dataclasses.is_dataclass(hint) else set()
        if isinstance(value, dict) and known:
            unread = sorted(value.keys() - known)
            self.misfits.extend(Misfit(f"{at}.{key}", f"one of the keys {', '.join(sorted(known))}", value[key]) for key in unread)
        return fitted


def _is_any(hint: Any) -> bool:
    return hint in (Any, object) or isinstance(hint, TypeVar)


def _is_callable(hint: Any) -> bool:
    return (get_origin(hint) or hint) is collections.abc.Callable


def accepts(hint: Any, kind: type) -> bool:
    """Whether an instance of a class fits an annotation."""
    return any(_accepts(member, kind) for member in members_of(hint))


def _accepts(member: Any, kind: type) -> bool:
    wanted = get_origin(member) or member
    if _is_any(member) or _is_callable(member):
        return True
    try:
        return isinstance(wanted, type) and issubclass(kind, wanted)
    except TypeError:  # a Protocol that cannot be asked
        return True


def _item_hints(hint: Any, count: int) -> list[Any]:
    wanted = list(get_args(hint)) or [Any]
    has_fixed_length = get_origin(hint) is tuple and wanted[-1] is not Ellipsis
    return wanted if has_fixed_length else wanted[:1] * count


def _own_type(kind: type, value: Any) -> Any:
    if kind is Path and isinstance(value, str):
        return Path(value)
    if isinstance(value, kind):
        return value
    raise ValueError(kind.__qualname__)


def _wanted(message: str, hint: Any) -> str:
    choices = [choice for member in members_of(hint) for choice in _choices(member)]
    if choices:
        return f"one of {', '.join(map(json.dumps, choices))}"
    found = _EXPECTED.match(message)
    return f"{found['type']}{found['bounds']}" if found and component_class(hint) is None else _describe(hint)


def _choices(member: Any) -> list[Any]:
    if get_origin(member) is Literal:
        return list(get_args(member))
    return [choice.value for choice in member] if isinstance(member, type) and issubclass(member, Enum) else []


def _describe(hint: Any) -> str:
    kind = component_class(hint)
    if kind is not None:
        return f'{with_article(kind.__name__)} ({{"name": …}}, {{"path": …}} or {{"ref": …}})'
    return " or ".join(getattr(member, "__name__", str(member)) for member in members_of(hint))
