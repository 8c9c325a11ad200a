"""What is a command of an admin?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import click
import msgspec

from .answers import CommandFailed
from .text import Piece


@dataclass(frozen=True, slots=True)
class AdminCommand:
    """One command."""

    name: str
    group: str
    """Under which heading help lists it."""
    summary: str
    """One sentence."""
    parameters: tuple[click.Parameter, ...]
    act: Callable[..., msgspec.Struct]
    """Called with the session, and each parameter by its name."""
    answers: tuple[type[msgspec.Struct], ...]
    """The types that `act` may return."""
    text: Callable[[Any], Iterable[Piece]]
    """What people read."""
    details: str = ""
    """What help says besides."""
    live: Callable[..., Iterable[Piece]] | None = None
    """What people read in the place of `act` and `text` when it takes its time: called like `act`, it tells one thing after the other."""

    def parser(self) -> click.Command:
        """What reads its arguments, and knows its help and its completion."""
        help_text = f"{self.summary}\n\n{self.details}".strip()
        return click.Command(self.name, params=list(self.parameters), help=help_text)

    @property
    def usage(self) -> str:
        """How it is written, such as `list_jobs [-n NAME_PREFIX] [-d] [ID_PREFIX]`."""
        return " ".join([self.name, *map(_usage, self.parameters)])

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of what --json prints."""
        references, definitions = msgspec.json.schema_components([*self.answers, CommandFailed], ref_template="#/$defs/{name}")
        return {"title": self.name, "anyOf": list(references), "$defs": definitions}


def _usage(parameter: click.Parameter) -> str:
    if isinstance(parameter, click.Option):
        value = "" if parameter.is_flag else f" {parameter.metavar}"
        return f"[{parameter.opts[0]}{value}]"
    choices = parameter.type.choices if isinstance(parameter.type, click.Choice) else ()
    return parameter.metavar or "|".join(map(str, choices)) or str(parameter.name).upper()
