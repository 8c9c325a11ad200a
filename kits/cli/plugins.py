"""`sundog plugins`."""

from __future__ import annotations

import click
import msgspec

from ...kernel.plugins import Plugin, plugins
from .failures import print_json
from .main import SUMMARIES
from .plugged import sub_commands, summaries


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
def command(*, as_json: bool) -> None:
    """Show the plugins that are installed, and the names that each brings, by role."""
    found = plugins().listing()
    if as_json:
        words = {word: [entry.value for entry in entries] for word, entries in sub_commands().items()}
        print_json({"plugins": [msgspec.to_builtins(plugin) for plugin in found], "sub_commands": words})
        return
    for plugin in found:
        _show(plugin)
    for word, summary in summaries(SUMMARIES):
        click.echo(f"sundog {word}  {summary}")


def _show(plugin: Plugin) -> None:
    origin = f"{plugin.distribution} {plugin.version}".strip()
    click.echo(f"{plugin.name}  ({origin}, {plugin.module}){'  blocked' if plugin.is_blocked else ''}")
    by_role: dict[str, list[str]] = {}
    for entry in plugin.registrations:
        by_role.setdefault(entry.role, []).append(entry.name)
    for role, names in by_role.items():
        click.echo(f"  {role + ':':<19} {', '.join(names)}")
