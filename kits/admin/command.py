"""The arguments of a command on a line, as click reads them: derived from the fields of its request."""

from __future__ import annotations

import functools
import types
from typing import Annotated, Any, Literal, NamedTuple, Union, cast, get_args, get_origin

import click
import msgspec

from ..commands.registry import AnyCommand, NoDeclaration
from ..protocol.answers import CommandFailed
from ..protocol.requests import Parameter

PLAIN: dict[Any, Any] = {str: click.STRING, int: click.INT, float: click.FLOAT}


class Typed(NamedTuple):
    """An argument or option, and what its field says besides."""

    click: click.Parameter
    mark: Parameter


@functools.cache
def typed(command: AnyCommand) -> tuple[Typed, ...]:
    """The arguments and options of a command, in order.

    Raises:
        NoDeclaration: a field has a type that cannot be typed on a line.
    """
    fields = [(field, *_taken_apart(field.type)) for field in _fields(command.line or command.request)]
    return tuple(Typed(_parameter(command, field, kind, notes), mark) for field, kind, notes in fields if (mark := _mark(notes)).is_typed)


def parser(command: AnyCommand) -> click.Command:
    """What reads the arguments of a command, and knows its help."""
    help_text = f"{command.summary}\n\n{command.details}".strip()
    return click.Command(command.name, params=[one.click for one in typed(command)], help=help_text)


def usage(command: AnyCommand) -> str:
    """How a command is written, such as `list_jobs [-n NAME_PREFIX] [-d] [ID_PREFIX]`."""
    return " ".join([command.name, *(_usage(one.click) for one in typed(command))])


def schema(command: AnyCommand) -> dict[str, Any]:
    """The JSON Schema of what --json prints."""
    kinds = [*(command.gives or command.answers), CommandFailed]
    references, definitions = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    return {"title": command.name, "anyOf": list(references), "$defs": definitions}


def _fields(kind: type[msgspec.Struct]) -> list[msgspec.structs.FieldInfo]:
    """The fields as they are written, those of a base class first; msgspec has those that are keywords only at the end."""
    written = [name for one in reversed(kind.__mro__) for name in vars(one).get("__annotations__", ())]
    return sorted(msgspec.structs.fields(kind), key=lambda field: written.index(field.name))


def _usage(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        value = "" if parameter.is_flag else f" {parameter.metavar}"
        return f"[{parameter.opts[0]}{value}]"
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) and parameter.required else ()
    return "|".join(map(str, choices)) or str(parameter.metavar)


def _taken_apart(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """A type without `Annotated` and `| None`, and the notes that were in it."""
    if get_origin(kind) is Annotated:
        inner, notes = _taken_apart(get_args(kind)[0])
        return inner, (*notes, *kind.__metadata__)
    if get_origin(kind) in (Union, types.UnionType):
        (kind,) = [one for one in get_args(kind) if one is not type(None)] or [None]
        return _taken_apart(kind)
    return kind, ()


def _mark(notes: tuple[Any, ...]) -> Parameter:
    return next((note for note in reversed(notes) if isinstance(note, Parameter)), Parameter())


def _parameter(command: AnyCommand, field: msgspec.structs.FieldInfo, kind: Any, notes: tuple[Any, ...]) -> click.Parameter:
    mark = _mark(notes)
    if kind is bool:
        return click.Option([mark.option or f"--{field.name.replace('_', '-')}", field.name], is_flag=True, help=mark.help)
    metavar = mark.metavar or field.name.upper()
    if get_origin(kind) is list:
        return click.Argument([field.name], type=_type(command, field, get_args(kind)[0], notes), nargs=-1, metavar=f"[{metavar}]...")
    options: dict[str, Any] = {"type": _type(command, field, kind, notes), "required": field.required}
    if not field.required:  # click takes a default of None for one
        options["default"] = field.default
    if mark.option:
        return click.Option([mark.option, field.name], metavar=metavar, help=mark.help, **options)
    if get_origin(kind) is not Literal:  # whose choices stand there
        options["metavar"] = metavar if field.required else f"[{metavar}]"
    return click.Argument([field.name], **options)


def _type(command: AnyCommand, field: msgspec.structs.FieldInfo, kind: Any, notes: tuple[Any, ...]) -> Any:
    bounds = next((note for note in notes if isinstance(note, msgspec.Meta)), None)
    if kind is int and bounds is not None:
        return click.IntRange(cast("int | None", bounds.ge), cast("int | None", bounds.le))
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    if kind not in PLAIN:
        wanted = "text, a number, a flag, choices, or a list of them"
        raise NoDeclaration(f"wanted {wanted}, got {kind}", where=f"{command.name}: {field.name}")
    return PLAIN[kind]
