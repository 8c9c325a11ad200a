"""The table of commands: every declaration that a plugin has registered, checked when it is loaded; and the receiver of commands."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Hashable, Mapping
from contextlib import nullcontext
from typing import Any, Generic, TypeVar

import msgspec

from ...kernel.errors import AdminError, PluginError
from ...kernel.operator_roles import AccessRule, Subject
from ...kernel.plugins import Plugins, Registration, plugins
from ..protocol.requests import Request, TargetedRequest
from ..supervisor.access import demand
from ..supervisor.waiting import Waiting
from .declaration import Command

Who = TypeVar("Who", bound=Hashable)
AnyCommand = Command[Any, Any]


class NoDeclaration(PluginError):
    """A plugin registers something as an admin command that is not the declaration of one.

    Cause: the target is not a `sundog.Command`, has another name than it is registered under, takes no `sundog.Request`,
    or has no function for a server or a site.

    Cure: tell the plugin's author, or block it: SUNDOG_BLOCK_PLUGINS=name.
    """

    code = "SD-1081"


class RightMissing(PluginError):
    """An admin command declares no right, so no access rule could decide on it.

    Cause: the plugin's author left out `right` in the declaration.

    Cure: tell the plugin's author, or block it: SUNDOG_BLOCK_PLUGINS=name.
    """

    code = "SD-1082"


class UnknownCommand(AdminError):
    """A participant does not know a command.

    Cause: the admin's program is newer, or has a plugin that the participant in the message does not have.

    Cure: compare `sundog --version` and `sundog plugins` on both sides.
    """

    code = "SD-6001"


@functools.cache
def commands() -> Mapping[str, AnyCommand]:
    """Name → command, those of every plugin of this process, in the order in which they were registered.

    Raises:
        PluginError: a declaration cannot be used; the message names it and its plugin.
    """
    return load_commands(plugins())


def load_commands(found: Plugins) -> dict[str, AnyCommand]:
    """Load the declarations of these plugins; see `commands`."""
    entries = [entry for plugin in found.listing() for entry in plugin.registrations if entry.role == "commands"]
    return {entry.name: _declared(found, entry) for entry in entries}


def _declared(found: Plugins, entry: Registration) -> AnyCommand:
    place = f"plugin {entry.plugin}: command {entry.name}"
    try:
        command = found.load(entry.role, entry.name)
    except PluginError as error:
        error.where = f"{place}: {error.where}"
        raise
    if not isinstance(command, Command):
        raise NoDeclaration(f"wanted a Command, got {type(command).__name__} ({entry.target})", where=place)
    if command.name != entry.name:
        raise NoDeclaration(f"its declaration is called {command.name!r} ({entry.target})", where=place)
    if not (inspect.isclass(command.request) and issubclass(command.request, Request)):
        raise NoDeclaration(f"wanted a sub-class of Request for its arguments, got {command.request!r}", where=place)
    if command.server is None and command.site is None:
        raise NoDeclaration("it has no function for a server or a site", where=place)
    if (command.server is None or command.site is None) and issubclass(command.request, TargetedRequest) != (command.server is None):
        raise NoDeclaration("a command of sites, and no other, takes a sub-class of TargetedRequest", where=place)
    if not command.right:
        raise RightMissing("it declares no right", where=place)
    return command


class Receiver(Generic[Who]):
    """The commands at one participant: known ones only, with arguments as declared, if its access rule allows them.

    Args:
        side: server or site.
        here: what messages call the participant.
        access: the participant's access rule.

    Raises:
        PluginError: a declaration cannot be used.
    """

    def __init__(self, side: str, here: str, access: AccessRule) -> None:
        self.access = access
        self.waiting: Waiting[Who] = Waiting()
        """Commands that only wait, by their author."""
        self._side = side
        self._here = here
        self._table = commands()

    def __repr__(self) -> str:
        return f"<Receiver at {self._here}: {len(self._table)} commands, {len(self.waiting)} wait>"

    async def carry_out(
        self,
        who: Who,
        subject: Subject,
        name: str,
        body: bytes,
        *,
        about: Callable[[Any], Mapping[str, Any]],
        act: Callable[[AnyCommand, Any], Awaitable[msgspec.Struct]],
    ) -> bytes:
        """Do a command; the body of the answer.

        Args:
            who: stops it, if it only waits: see `waiting`.
            subject: the participant that gives it.
            name: the command's.
            body: its request.
            about: what the access rule is told of a request, besides the right.
            act: does it.

        Raises:
            UnknownCommand, ArgumentsRefused, NotAllowed: it was not begun.
            SundogError: whatever the command itself raises.
        """
        command = self._table.get(name)
        if command is None or not command.runs_at(self._side):
            raise UnknownCommand(f"unknown command {name!r:.80}: {self._here} does not have it")
        asked = command.read_request(body)
        demand(self.access, subject, name, {"right": command.right, **about(asked)})
        with self.waiting.here(who) if command.only_waits else nullcontext():
            return command.write_answer(await act(command, asked), self._side)
