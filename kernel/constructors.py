"""Which parameters does a class's constructor have? It is the schema of a component's `args`."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

_DATA_MODULES = ("builtins", "collections.abc", "typing", "types", "datetime", "decimal", "uuid", "pathlib", "numpy")


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


def component_class(hint: Any) -> type | None:
    """The class of which a parameter wants an instance; None when it takes plain data or anything."""
    for member in members_of(hint):
        kind = get_origin(member) or member
        if isinstance(kind, type) and kind.__module__ not in _DATA_MODULES and not issubclass(kind, Enum | msgspec.Struct | dict | tuple):
            return kind
    return None


def members_of(hint: Any) -> Iterator[Any]:
    """The alternatives of a union, without their Annotated notes; the hint itself when it is none."""
    origin = get_origin(hint)
    if origin is Annotated:
        yield from members_of(get_args(hint)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(hint):
            yield from members_of(member)
    else:
        yield hint


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
