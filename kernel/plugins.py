"""Which plugins are there, and which class does a short name stand for?

Built-in plugins are loaded by the same steps as a stranger's: import the module, compare its hook API version,
check its hook implementations, call its register hooks. One plugin at a time, so that it is known who claimed
a name. A class is imported when somebody asks for it.
"""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

from .. import __version__
from .context import ObserverHooks
from .errors import Failure, PluginError
from .fitting import accepts
from .hooks import Hooks, Implementation
from .hookspecs import HOOK_API_VERSION, OBSERVE_PROJECT, REGISTER_PROJECT, RegisterHooks
from .importing import import_class, import_module, import_object, split_target
from .observers import Observers
from .wording import did_you_mean

BUILT_IN = ("sundog.transports.builtin", "sundog.components.builtin", "sundog.workflows.builtin", "sundog.kits.builtin")
"""Modules of ours, loaded like a stranger's; a plugin is named after the folder: "transports", …"""

ENTRY_POINT_GROUP = "sundog"
BLOCK_VARIABLE = "SUNDOG_BLOCK_PLUGINS"
"""Environment variable: names of plugins not to load, with commas between them; `*` blocks all."""

NO_COMPONENT_ROLES = ("transports", "commands")
"""Roles whose classes no spec can name."""


def blocked_names() -> frozenset[str]:
    """The names in the environment variable SUNDOG_BLOCK_PLUGINS."""
    return frozenset(os.environ.get(BLOCK_VARIABLE, "").replace(" ", "").split(","))


class HookApiMismatch(PluginError):
    """A plugin was written for another version of the hooks.

    Cause: the plugin package and Sundog are of different generations.

    Cure: install a version of the plugin for the hook API named in the message, or block it: SUNDOG_BLOCK_PLUGINS=name.
    """

    code = "SD-1001"


class NameTaken(PluginError):
    """Two plugins claim one name.

    Cause: two installed packages bring a component, or call their plugin, by the same name.

    Cure: uninstall one of the two, or block it: SUNDOG_BLOCK_PLUGINS=name.
    """

    code = "SD-1004"


class PluginRaised(PluginError):
    """A plugin raised an exception while it registered.

    Cause: a mistake in the plugin; the message has its own words and its line.

    Cure: tell its author, or block it: SUNDOG_BLOCK_PLUGINS=name.
    """

    code = "SD-1005"


class UnknownName(PluginError):
    """No plugin has registered this name.

    Cause: a typing mistake, or the plugin package that brings it is not installed (or is blocked).

    Cure: `sundog plugins` lists all names.
    """

    code = "SD-1006"


class NoCounterpart(PluginError):
    """A class of FLARE is named that Sundog has nothing in place of.

    Cause: the job or the kit was written for FLARE, and this part of it is not ported yet.

    Cure: write the class in custom/ with Sundog's roles (docs/plugins.md), or take one that `sundog plugins` lists.
    """

    code = "SD-1071"


@dataclass(frozen=True, slots=True)
class Registration:
    """A short name in a role, and who brought it."""

    role: str
    name: str
    target: str
    plugin: str
    version: str


@dataclass(frozen=True, slots=True)
class Alias:
    """What a foreign class path stands for."""

    path: str
    name: str
    """The short name here; empty: none of it is needed here, or it has no counterpart (see `instead`)."""
    ignored: tuple[str, ...] = ()
    """Its arguments that are not needed here."""
    renamed: Mapping[str, str] = field(default_factory=dict)
    """Its argument → ours."""
    plugin: str = ""
    instead: str = ""
    """What to do about a class without a counterpart."""


@dataclass(frozen=True, slots=True)
class Plugin:
    """A plugin, loaded or blocked."""

    name: str
    version: str
    module: str
    distribution: str
    hook_api: int = HOOK_API_VERSION
    is_blocked: bool = False
    registrations: tuple[Registration, ...] = ()


class Plugins:
    """All plugins of a process.

    Args:
        built_in: modules to load first.
        entry_points: where strangers' plugins are named; default: what is installed under the group `sundog`.
        blocked: names not to load; default: those in the environment variable SUNDOG_BLOCK_PLUGINS.

    Raises:
        PluginError: a plugin cannot be used; the message names it, and the other one when two are at odds.
    """

    def __init__(
        self,
        built_in: Sequence[str] = BUILT_IN,
        *,
        entry_points: Iterable[metadata.EntryPoint] | None = None,
        blocked: Iterable[str] | None = None,
    ) -> None:
        self._hooks = Hooks(REGISTER_PROJECT, RegisterHooks)
        self._classes: dict[tuple[str, str], Registration] = {}
        self._aliases: dict[str, Alias] = {}
        self._loaded: dict[str, Plugin] = {}
        self.watchers: dict[str, object] = {}
        """Plugin → its module, of those with `@observe` functions (see `observers`)."""
        self._blocked = blocked_names() if blocked is None else frozenset(blocked)
        found = metadata.entry_points(group=ENTRY_POINT_GROUP) if entry_points is None else entry_points
        for plugin in [*map(_built_in, built_in), *sorted(map(_installed, found), key=lambda plugin: plugin.name)]:
            self._load(plugin)

    def listing(self) -> tuple[Plugin, ...]:
        """Every plugin, in order of loading, with what it registered; blocked ones too."""
        return tuple(self._loaded.values())

    def names(self, role: str) -> dict[str, Registration]:
        """Short name → registration, of one role (`filters`, `transports`, …: what follows `sundog_` in its hook)."""
        return {name: entry for (its_role, name), entry in sorted(self._classes.items()) if its_role == role}

    def find(self, role: str, name: str) -> type:
        """The class that a short name stands for in a role; imported now.

        Raises:
            UnknownName: with what it may have meant.
            ModuleMissing, LibraryMissing, ImportBroke, AttributeMissing: it cannot be imported.
        """
        return import_class(self._registered(role, name).target)

    def load(self, role: str, name: str) -> Any:
        """Whatever object a short name stands for in a role; imported now, None if its module does not have it.

        Raises:
            UnknownName, ModuleMissing, LibraryMissing, ImportBroke: see `find`.
        """
        return import_object(self._registered(role, name).target)

    def _registered(self, role: str, name: str) -> Registration:
        entry = self._classes.get((role, name))
        if entry is None:
            raise UnknownName(f"no plugin has registered {name!r} among the {role}{did_you_mean(name, self.names(role))}")
        return entry

    def resolve(self, name: str, want: Any = object) -> type:
        """The class that a short name, or a foreign one that an alias tells of, stands for in a component spec.

        Args:
            want: the annotation of the place, a role for instance; it decides between classes of one name.

        Raises:
            UnknownName: no role has it.
            NoCounterpart: it is a foreign class for which there is nothing here.
            NameTaken: several roles have it, for different classes that all fit, or none does; write `path` instead.
            ModuleMissing, LibraryMissing, ImportBroke, AttributeMissing: it cannot be imported.
        """
        components = [entry for entry in self._classes.values() if entry.role not in NO_COMPONENT_ROLES]
        known = {entry.name for entry in components}
        alias = None if name in known else self.alias(name)
        if alias is not None and alias.instead:
            raise NoCounterpart(f"FLARE's {name.rpartition('.')[2]} has no counterpart in Sundog yet", cure=alias.instead)
        wanted = name if alias is None else alias.name
        found = {entry.target: entry for entry in components if entry.name == wanted}
        if not found:
            words = known | {path for path, alias in self._aliases.items() if "." not in path and not alias.instead}
            raise UnknownName(f"no plugin has registered a component {name!r}{did_you_mean(name, words)}")
        return import_class(next(iter(found))) if len(found) == 1 else _that_fits(name, tuple(found.values()), want)

    def observers(self) -> Observers:
        """New observers, of a run or of a server: the plugin modules that watch."""
        observers = Observers()
        for name, module in self.watchers.items():
            observers.register(module, name)
        return observers

    def alias(self, path: str) -> Alias | None:
        """What a foreign class path, or its last part alone, stands for; None when no plugin tells."""
        exact = self._aliases.get(path)
        return exact or next((alias for start, alias in self._aliases.items() if start.endswith(".") and path.startswith(start)), None)

    def _load(self, plugin: Plugin) -> None:
        rival = self._loaded.get(plugin.name)
        if rival is not None:
            raise NameTaken(f"two plugins are called {plugin.name!r}: {_origin(rival)} and {_origin(plugin)}")
        if self._blocked & {plugin.name, "*"}:
            self._loaded[plugin.name] = Plugin(plugin.name, plugin.version, plugin.module, plugin.distribution, is_blocked=True)
            return
        module = _import(plugin)
        hook_api = getattr(module, "hook_api", 1)
        if hook_api != HOOK_API_VERSION:
            wrong = f"plugin {plugin.name!r} ({_origin(plugin)}) is written for hook API {hook_api!r}"
            raise HookApiMismatch(f"{wrong}; this Sundog has hook API {HOOK_API_VERSION}")
        if Hooks(OBSERVE_PROJECT, ObserverHooks).enrol(module, plugin.name):
            self.watchers[plugin.name] = module
        self._hooks.enrol(module, plugin.name)
        registered = self._call_register_hooks(plugin)
        self._loaded[plugin.name] = Plugin(plugin.name, plugin.version, plugin.module, plugin.distribution, hook_api, False, registered)

    def _call_register_hooks(self, plugin: Plugin) -> tuple[Registration, ...]:
        before = len(self._classes)
        for hook in self._hooks.arguments:
            role = hook.removeprefix("sundog_")
            add = functools.partial(self._add_alias, plugin) if role == "aliases" else functools.partial(self._add, plugin, role)
            for implementation in self._hooks.implementations(hook):
                if implementation.owner == plugin.name:
                    _call(implementation, add, hook)
        return tuple(self._classes.values())[before:]

    def _add(self, plugin: Plugin, role: str, name: str, target: str) -> None:
        split_target(target)
        rival = self._classes.get((role, name))
        if rival is not None:
            raise NameTaken(f"{name!r} among the {role} is claimed by {rival.plugin} ({rival.target}) and by {plugin.name} ({target})")
        self._classes[role, name] = Registration(role, name, target, plugin.name, plugin.version)

    def _add_alias(  # see `AddAlias`
        self,
        plugin: Plugin,
        path: str,
        name: str,
        *,
        ignored: Sequence[str] = (),
        renamed: Mapping[str, str] | None = None,
        instead: str = "",
    ) -> None:
        alias = Alias(path, name, tuple(ignored), dict(renamed or {}), plugin.name, instead)
        for key in filter(None, (path, path.rpartition(".")[2])):
            rival = self._aliases.get(key)
            if rival is not None and rival.name != name and not rival.instead:  # a plugin may bring what had no counterpart
                raise NameTaken(f"alias {key!r} is claimed by {rival.plugin} (for {rival.name!r}) and by {plugin.name} (for {name!r})")
            self._aliases[key] = alias


@functools.cache
def plugins() -> Plugins:
    """The plugins of this process, loaded at the first call."""
    return Plugins()


def _that_fits(name: str, entries: Sequence[Registration], want: Any) -> type:
    """The class that fits a place, of those that one name stands for; one that cannot be imported counts if no other fits."""
    fitting, errors = dict[str, type](), list[PluginError]()
    for entry in entries:
        try:
            kind = import_class(entry.target)
        except PluginError as error:
            errors.append(error)
        else:
            fitting |= {entry.target: kind} if accepts(want, kind) else {}
    if len(fitting) == 1:
        return next(iter(fitting.values()))
    if errors and not fitting:
        raise errors[0]
    meanings = " or ".join(f"{entry.target} ({entry.role}, {entry.plugin})" for entry in entries)
    paths = " or ".join(json.dumps(entry.target.replace(":", ".")) for entry in entries)
    raise NameTaken(f"{name!r} may mean {meanings}", cure=f'name the class by its path: in place of "name", write "path": {paths}')


def _call(implementation: Implementation, add: Callable[..., None], hook: str) -> None:
    try:
        implementation.call({"add": add})
    except PluginError as error:
        error.where = error.where or f"plugin {implementation.owner}: {hook}"
        raise
    except Exception as error:  # a stranger's code
        failure = Failure.of(error)
        raise PluginRaised(f"{failure.what} ({failure.where})", where=f"plugin {implementation.owner}: {hook}") from error


def _import(plugin: Plugin) -> object:
    try:
        return import_module(plugin.module)
    except PluginError as error:
        error.where = f"plugin {plugin.name}: {error.where}"
        raise


def _built_in(module: str) -> Plugin:
    name = module.split(".")[-2] if module.endswith(".builtin") else module
    return Plugin(name, __version__, module, "sundog")


def _installed(entry_point: metadata.EntryPoint) -> Plugin:
    distribution = entry_point.dist
    name, version = (distribution.name, distribution.version) if distribution else ("", "")
    return Plugin(entry_point.name, version, entry_point.module, name)


def _origin(plugin: Plugin) -> str:
    return f"{plugin.module} of {plugin.distribution} {plugin.version}".strip()
