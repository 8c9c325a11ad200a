"""Is this function a hook implementation that the kernel can call, and with which arguments?"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import pluggy

from .errors import PluginError
from .wording import did_you_mean


class UnknownHook(PluginError):
    """A function is marked as a hook implementation, but there is no hook of that name.

    Cause: a typing mistake, or `@register` where `@observe` is meant.

    Cure: docs/hooks.md lists every hook with its arguments.
    """

    code = "SD-1002"


class HookSignature(PluginError):
    """A hook implementation cannot be called as the hook says.

    Cause: an argument the hook does not have, `async def`, or a wrapper: nothing may wrap the others' calls.

    Cure: write a plain function that takes some of the arguments listed in docs/hooks.md.
    """

    code = "SD-1003"


@dataclass(frozen=True, slots=True)
class Implementation:
    """One function that is called for a hook."""

    owner: str
    """The plugin's name, or the component's id."""
    function: Callable[..., object]
    arguments: tuple[str, ...]
    """Those of the hook's arguments that it takes."""

    def call(self, given: dict[str, Any]) -> None:
        """Call it with what it takes of the hook's arguments."""
        self.function(**{name: given[name] for name in self.arguments})


class Hooks:
    """The hooks of one specification, and who implements them, in pluggy's order."""

    def __init__(self, project: str, specification: type) -> None:
        self._marker = f"{project}_impl"
        self._project, self._specification = project, specification
        self.arguments = _arguments_of(specification)
        """Hook → the names of its arguments."""

    @functools.cached_property
    def _manager(self) -> pluggy.PluginManager:
        """Made for the first thing that is enrolled: most virtual sites of a simulation have no observer at all."""
        manager = pluggy.PluginManager(self._project)
        manager.add_hookspecs(self._specification)
        return manager

    def enrol(self, thing: object, owner: str) -> tuple[str, ...]:
        """Take in the marked functions of a module or the marked methods of an object; gives the hooks they implement.

        Nothing but marked functions is looked at: properties are not run, equal objects stay distinct.

        Raises:
            UnknownHook, HookSignature: names owner, function, hook and argument; nothing was taken in.
        """
        enrolled, hooks = _Enrolled(), dict[str, None]()
        for name, function, options in self._marked(thing):
            hook = options["specname"] or name
            if hook not in self.arguments:
                if options["optionalhook"]:
                    continue
                raise UnknownHook(f"there is no hook {hook}{did_you_mean(hook, self.arguments)}", where=f"{owner}: {name}")
            self._verify(f"{owner}: {name}", hook, function, options)
            setattr(enrolled, name, function)
            hooks[hook] = None
        if hooks:
            self._manager.register(enrolled, owner)
        return tuple(hooks)

    def implementations(self, hook: str) -> tuple[Implementation, ...]:
        """Who is called for a hook, first first: tryfirst, then the last enrolled before the first, then trylast."""
        found = getattr(self._manager.hook, hook).get_hookimpls()
        known = self.arguments[hook]
        return tuple(
            Implementation(each.plugin_name, each.function, tuple(name for name in _argument_names(each.function) if name in known))
            for each in reversed(found)
        )

    def _marked(self, thing: object) -> Iterator[tuple[str, Callable[..., object], dict[str, Any]]]:
        holder = thing if isinstance(thing, ModuleType) else type(thing)
        for name in dir(holder):
            static = inspect.getattr_static(holder, name, None)
            plain = static.__func__ if isinstance(static, staticmethod | classmethod) else static
            if inspect.isfunction(plain) and hasattr(plain, self._marker):
                yield name, getattr(thing, name), getattr(plain, self._marker)

    def _verify(self, place: str, hook: str, function: Callable[..., object], options: dict[str, Any]) -> None:
        if options["wrapper"] or options["hookwrapper"]:
            raise HookSignature(f"is a wrapper for {hook}; wanted a plain function", where=place)
        if inspect.iscoroutinefunction(function) or inspect.isgeneratorfunction(function):
            raise HookSignature(f"is a coroutine or a generator for {hook}; wanted a plain function", where=place)
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise HookSignature(f"{hook} passes arguments by name; got {parameter}", where=place)
            if parameter.name not in self.arguments[hook] and parameter.default is parameter.empty:
                hint = did_you_mean(parameter.name, self.arguments[hook])
                raise HookSignature(f"{hook} has no argument {parameter.name!r}{hint}", where=place)


class _Enrolled:
    """What pluggy sees of a plugin: only its hook implementations, and an identity of its own."""


@functools.cache
def _arguments_of(specification: type) -> dict[str, tuple[str, ...]]:
    """Of each hook; looked up once, because a simulation has an instance of Hooks per virtual site."""
    return {name: _argument_names(function) for name, function in vars(specification).items() if not name.startswith("_")}


def _argument_names(function: Callable[..., object]) -> tuple[str, ...]:
    return tuple(name for name in inspect.signature(function).parameters if name != "self")
