"""Does a value fit a constructor's parameter? The constructor is the schema of a component's `args`.

Values come from JSON. Where a parameter wants an object, a dict may describe a component (`{"name" | "path", …}`)
or name one (`{"ref": "id"}`); whoever checks or builds hands in what makes an object of such a dict.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec

from .importing import with_article

SPEC_KEYS = ("id", "name", "path", "args", "disabled")
_LISTS = {list: list, tuple: tuple, set: set, frozenset: frozenset}
_ABSTRACT_LISTS = (collections.abc.Sequence, collections.abc.Iterable, collections.abc.Collection)
_DICTS = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_DATA_MODULES = ("builtins", "collections.abc", "typing", "types", "datetime", "decimal", "uuid", "pathlib", "numpy")
_EXPECTED = re.compile(r"Expected `(?P<type>.+?)`(?P<bounds>.*?)(, got `.*`)?( - at .*)?$")


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a constructor."""

    name: str
    hint: Any
    is_required: bool
    default: Any = None


@dataclass(frozen=True, slots=True)
class Constructor:
    """The parameters of a class's constructor; `is_open`: it takes any other keyword as well."""

    parameters: dict[str, Parameter]
    is_open: bool = False


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


def constructor_of(kind: type) -> Constructor:
    """The parameters of a class. Annotations that cannot be resolved here count as Any."""
    try:
        signature = inspect.signature(kind)
    except (ValueError, TypeError):  # made in C, without a signature: anything goes
        return Constructor({}, is_open=True)
    init = kind.__init__ if isinstance(kind.__init__, types.FunctionType) else kind  # type: ignore[misc]
    hints = _hints(init)
    found, is_open = {}, False
    for name, parameter in signature.parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            is_open = True
        elif parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
            has_default = parameter.default is not parameter.empty
            found[name] = Parameter(name, hints.get(name, Any), not has_default, parameter.default if has_default else None)
    return Constructor(found, is_open)


def is_spec(value: Any) -> bool:
    """Whether a JSON value describes a component, or names one."""
    if not isinstance(value, dict):
        return False
    if value.keys() == {"ref"}:
        return True
    return isinstance(value.get("path", value.get("name")), str) and value.keys() <= set(SPEC_KEYS)


def component_class(hint: Any) -> type | None:
    """The class of which a parameter wants an instance; None when it takes plain data or anything."""
    for member in _members(hint):
        kind = get_origin(member) or member
        if isinstance(kind, type) and kind.__module__ not in _DATA_MODULES and not issubclass(kind, Enum | msgspec.Struct | dict | tuple):
            return kind
    return None


class Fitter:
    """Fits values to annotations; collects all misfits.

    Args:
        make: makes an object of a dict that is a spec or a reference; given the dict and its JSON path.
    """

    def __init__(self, make: Callable[[dict[str, Any], str], Made | None]) -> None:
        self.make = make
        self.misfits: list[Misfit] = []

    def fit(self, value: Any, hint: Any, at: str) -> Any:
        """The value as the annotation wants it: components made, lists and enums converted."""
        if isinstance(value, dict) and self._stands_for_object(value, hint):
            made = self.make(value, at)
            if made is not None and not any(_accepts(member, made.kind) for member in _members(hint)):
                self.misfits.append(Misfit(at, _describe(hint), made))
            return made and made.instance
        if _is_any(hint):
            return [self.fit(item, Any, f"{at}[{index}]") for index, item in enumerate(value)] if isinstance(value, list) else value
        members = list(_members(hint))
        if isinstance(value, list | dict) and len(members) > 1:
            return self._fit_one_of(value, members, at)
        origin = get_origin(members[0]) or members[0]
        if isinstance(value, list) and (origin in _LISTS or origin in _ABSTRACT_LISTS):
            wanted = _item_hints(members[0], len(value))
            if len(wanted) != len(value):
                self.misfits.append(Misfit(at, f"{len(wanted)} items", value))
            items = [self.fit(item, hint, f"{at}[{index}]") for index, (item, hint) in enumerate(zip(value, wanted, strict=False))]
            return self._bounded(_LISTS.get(origin, list)(items), hint, at)
        if isinstance(value, dict) and origin in _DICTS:
            return self._bounded(self._fit_dict(value, members[0], at), hint, at)
        return self._leaf(value, hint, at)

    def _stands_for_object(self, value: dict[str, Any], hint: Any) -> bool:
        kind = component_class(hint)
        if kind is not None:
            return is_spec(value) or not dataclasses.is_dataclass(kind)
        return _is_any(hint) and is_spec(value)

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


def schema_of(kind: type) -> dict[str, Any]:
    """The JSON Schema (2020-12) of a class's `args`."""
    constructor = constructor_of(kind)
    properties, definitions = {}, {}
    for parameter in constructor.parameters.values():
        try:
            schema = msgspec.json.schema(parameter.hint, schema_hook=_component_schema)
        except TypeError:
            schema = {}
        definitions.update(schema.pop("$defs", {}))
        if not parameter.is_required and isinstance(parameter.default, str | int | float | bool | None):
            schema["default"] = parameter.default
        properties[parameter.name] = schema
    required = [parameter.name for parameter in constructor.parameters.values() if parameter.is_required]
    schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": constructor.is_open}
    summary = (inspect.getdoc(kind) or "").partition("\n")[0]
    return {**schema, **({"description": summary} if summary else {}), **({"$defs": definitions} if definitions else {})}


def _component_schema(kind: type) -> dict[str, Any]:
    if kind is Path:
        return {"type": "string"}
    reference = {"type": "object", "properties": {"ref": {"type": "string"}}, "required": ["ref"], "additionalProperties": False}
    words: dict[str, Any] = {"id": {"type": "string"}, "name": {"type": "string"}, "path": {"type": "string"}}
    words |= {"args": {"type": "object"}, "disabled": {"type": "boolean"}}
    spec = {"type": "object", "properties": words, "additionalProperties": False}
    return {"description": f"a component: {kind.__name__}", "oneOf": [reference, spec]}


def _hints(holder: Any) -> dict[str, Any]:
    try:
        return typing.get_type_hints(holder, include_extras=True)
    except Exception:  # noqa: BLE001  # a name imported for type checkers only: the other annotations still count
        return {name: _hint(note, getattr(holder, "__globals__", {})) for name, note in inspect.get_annotations(holder).items()}


def _hint(note: Any, names: dict[str, Any]) -> Any:
    try:
        return typing.get_type_hints(types.SimpleNamespace(__annotations__={"it": note}), names, include_extras=True)["it"]
    except Exception:  # noqa: BLE001  # as above
        return Any


def _members(hint: Any) -> Iterator[Any]:
    """The alternatives of a union, without their Annotated notes; the hint itself when it is none."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from _members(get_args(hint)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(hint):
            yield from _members(member)
    else:
        yield hint


def _is_any(hint: Any) -> bool:
    return hint in (Any, object) or isinstance(hint, TypeVar)


def _accepts(member: Any, kind: type) -> bool:
    wanted = get_origin(member) or member
    if _is_any(member) or wanted is collections.abc.Callable:
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
    choices = [choice for member in _members(hint) for choice in _choices(member)]
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
    return " or ".join(getattr(member, "__name__", str(member)) for member in _members(hint))
