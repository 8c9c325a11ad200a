"""`sundog explain CODE`: what an error code means, and what to do about it."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module

import click

from ...kernel.errors import CommandLineError, known_errors
from ...kernel.importing import did_you_mean

PACKAGES = ("kernel", "transports", "components", "workflows", "kits")


class UnknownCode(CommandLineError):
    """No error has this code.

    Cause: a typing mistake, or a code of another version or of a plugin.

    Cure: codes look like SD-1234; take it from the message in brackets.
    """

    code = "SD-7061"


@click.command()
@click.argument("code")
def command(code: str) -> int:
    """Show what an error code means: what happened, the likely cause, the next step."""
    for package in PACKAGES:
        _import_all(f"sundog.{package}")
    known = known_errors()
    kind = known.get(code.upper())
    if kind is None:
        raise UnknownCode(f"there is no error {code!r}{did_you_mean(code.upper(), known)}")
    click.echo(f"{kind.code}  {inspect.cleandoc(kind.__doc__ or '')}")
    return 0


def _import_all(package: str) -> None:
    """Error classes are declared beside their raisers, all over the package; programs (`__main__`) are left alone."""
    for module in pkgutil.walk_packages(import_module(package).__path__, f"{package}."):
        if not module.name.endswith("__main__"):
            import_module(module.name)
