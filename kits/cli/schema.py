"""`sundog schema`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import click
import msgspec

from ...kernel.constructors import schema_of
from ...kernel.errors import CommandLineError, PluginError
from ...kernel.plugins import NO_COMPONENT_ROLES, plugins
from ...kernel.wording import did_you_mean
from .failures import print_json


class UnknownSchema(CommandLineError):
    """There is no schema of this name.

    Cause: a typing mistake, or a component of a plugin that is not installed here.

    Cure: `sundog schema` without a name lists what there is.
    """

    code = "SD-7023"


@click.command()
@click.argument("name", required=False)
@click.option("--all", "want_all", is_flag=True, help="All of them, by name, in one document.")
def command(name: str | None, *, want_all: bool) -> None:
    """Print the JSON Schema of a file that we read, of the "args" of a component, or of what a command answers with --json.

    Without a name, list what there is.
    """
    makers = {**_files(), **_answers(), **_components()}
    if want_all:
        print_json({key: _made(make) for key, make in makers.items()})
    elif name is None:
        click.echo("\n".join(makers))
    elif name in makers:
        print_json(makers[name]())
    else:
        of_roles = [key for key in makers if key.endswith(f".{name}")]
        hint = f"; there is {', '.join(of_roles)}" if of_roles else did_you_mean(name, makers)
        raise UnknownSchema(f"there is no schema {name!r}{hint}")


def _files() -> dict[str, Callable[[], dict[str, Any]]]:
    from ..workspace.job_meta import JobMeta
    from ..workspace.kit import AdminKit, ServerKit, SiteKit

    kinds = {"meta.json": JobMeta, "fed_server.json": ServerKit, "fed_client.json": SiteKit, "fed_admin.json": AdminKit}
    return {name: partial(msgspec.json.schema, kind) for name, kind in kinds.items()}


def _answers() -> Mapping[str, Callable[[], dict[str, Any]]]:
    from ..admin.command import schema
    from ..admin.commands import typed_commands
    from ..protocol.answers import JobReport

    reports = dict.fromkeys(("simulate", "demo"), partial(msgspec.json.schema, JobReport))
    return {name: partial(schema, command) for name, command in typed_commands().items()} | reports


def _components() -> dict[str, Callable[[], dict[str, Any]]]:
    """By short name; by role and name, as in filters.Median, where a name means different classes in several roles."""
    entries = [entry for plugin in plugins().listing() for entry in plugin.registrations if entry.role not in NO_COMPONENT_ROLES]
    targets: dict[str, set[str]] = {}
    for entry in entries:
        targets.setdefault(entry.name, set()).add(entry.target)
    keys = {entry: entry.name if len(targets[entry.name]) == 1 else f"{entry.role}.{entry.name}" for entry in entries}
    return {key: partial(_arguments, entry.role, entry.name) for entry, key in keys.items()}


def _arguments(role: str, name: str) -> dict[str, Any]:
    return schema_of(plugins().find(role, name))


def _made(make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A component whose library is not installed is told of, and keeps no other from being shown."""
    try:
        return make()
    except PluginError as exc:
        return {"description": str(exc)}
