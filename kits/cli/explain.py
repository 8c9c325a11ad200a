"""`sundog explain CODE`."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from ...kernel.errors import CommandLineError, known_errors
from ...kernel.wording import did_you_mean

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("kernel", "transports", "components", "workflows", "kits")


class UnknownCode(CommandLineError):
    """No error has this code.

    Cause: a typing mistake, or a code of another version or of a plugin that is not installed here.

    Cure: take it from the brackets before a message; codes look like SD-1234.
    """

    code = "SD-7022"


@click.command()
@click.argument("code")
def command(code: str) -> None:
    """Show what an error code means: what happened, the likely cause, the next step."""
    pages = dict(_ours()) | dict(_others())
    wanted = code.strip("[]").upper()
    if wanted not in pages:
        raise UnknownCode(f"there is no error {code!r}{did_you_mean(wanted, pages)}")
    click.echo(f"{wanted}: {pages[wanted]}")


def _ours() -> Iterator[tuple[str, str]]:
    """Code → page of every error of ours, read from the sources: to import them all, torch would have to be here."""
    for folder in FOLDERS:
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if 'code = "SD-' in text:
                yield from _errors_in(ast.parse(text))


def _errors_in(tree: ast.Module) -> Iterator[tuple[str, str]]:
    for kind in (node for node in tree.body if isinstance(node, ast.ClassDef)):
        for statement in kind.body:
            match statement:
                case ast.Assign(targets=[ast.Name("code")], value=ast.Constant(str(code))):
                    yield code, ast.get_docstring(kind) or ""


def _others() -> Iterator[tuple[str, str]]:
    """The same of plugins, as far as the modules by which they register declare them."""
    from ...kernel.plugins import plugins

    plugins()
    for code, kind in known_errors().items():
        if not kind.__module__.startswith("sundog."):
            yield code, inspect.getdoc(kind) or ""
