"""Register hooks, by which a plugin names its classes, and the markers of both kinds of hooks.

`@register` marks the functions of a plugin module that register; they are called once, at the start of a
process. `@observe` marks methods of a component (or functions of a plugin module) that watch a run: the hooks
they may implement are those of `sundog.kernel.context.ObserverHooks`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import pluggy

HOOK_API_VERSION = 1
"""Which hooks this core calls. A plugin module says `hook_api = 1`; one that says nothing was written for 1."""

REGISTER_PROJECT = "sundog"
OBSERVE_PROJECT = "sundog_observe"

register = pluggy.HookimplMarker(REGISTER_PROJECT)
observe = pluggy.HookimplMarker(OBSERVE_PROJECT)

_register_hook = pluggy.HookspecMarker(REGISTER_PROJECT)
observe_hook = pluggy.HookspecMarker(OBSERVE_PROJECT)
"""Marks the methods of `ObserverHooks`."""


class AddClass(Protocol):
    """What a register hook is given."""

    def __call__(self, name: str, target: str) -> None:
        """Register a class, "package.module:Class", under a short name."""


class AddAlias(Protocol):
    """What `sundog_aliases` is given."""

    def __call__(self, path: str, name: str, *, ignored: Sequence[str] = (), renamed: Mapping[str, str] = ..., instead: str = "") -> None:
        """Let a foreign dotted class path, and its last part, stand for a short name; `instead`: nothing stands for it yet."""


class RegisterHooks:
    """Called once a process and plugin, when the plugin is loaded.

    Each hands over a function to call for each class: `add("short-name", "package.module:Class")`. Nothing is
    imported until somebody asks for that name. What follows `sundog_` is the role.
    """

    @_register_hook
    def sundog_transports(self, add: AddClass) -> None:
        """When plugins are loaded: name wires; the short name is the scheme of their addresses."""

    @_register_hook
    def sundog_workflows(self, add: AddClass) -> None:
        """When plugins are loaded: name what a server does in a job."""

    @_register_hook
    def sundog_executors(self, add: AddClass) -> None:
        """When plugins are loaded: name what a site does with a task."""

    @_register_hook
    def sundog_learners(self, add: AddClass) -> None:
        """When plugins are loaded: name what a LearnerExecutor calls."""

    @_register_hook
    def sundog_aggregators(self, add: AddClass) -> None:
        """When plugins are loaded: name what makes one Shareable of many results."""

    @_register_hook
    def sundog_updates(self, add: AddClass) -> None:
        """When plugins are loaded: name what makes the next model from the present one and an aggregate."""

    @_register_hook
    def sundog_persistors(self, add: AddClass) -> None:
        """When plugins are loaded: name what converts between a framework's model file and a Shareable."""

    @_register_hook
    def sundog_locators(self, add: AddClass) -> None:
        """When plugins are loaded: name what finds models for a cross-site evaluation."""

    @_register_hook
    def sundog_filters(self, add: AddClass) -> None:
        """When plugins are loaded: name what changes task data or results on their way."""

    @_register_hook
    def sundog_observers(self, add: AddClass) -> None:
        """When plugins are loaded: name components that only watch a run."""

    @_register_hook
    def sundog_trackers(self, add: AddClass) -> None:
        """When plugins are loaded: name what writes metrics where people look at them."""

    @_register_hook
    def sundog_policies(self, add: AddClass) -> None:
        """When plugins are loaded: name rules of who must answer in a step."""

    @_register_hook
    def sundog_access_rules(self, add: AddClass) -> None:
        """When plugins are loaded: name rules of who may do what."""

    @_register_hook
    def sundog_resource_managers(self, add: AddClass) -> None:
        """When plugins are loaded: name authorities over what a site can give to jobs."""

    @_register_hook
    def sundog_schedulers(self, add: AddClass) -> None:
        """When plugins are loaded: name orders in which waiting jobs are tried."""

    @_register_hook
    def sundog_launchers(self, add: AddClass) -> None:
        """When plugins are loaded: name ways to start a job process."""

    @_register_hook
    def sundog_commands(self, add: AddClass) -> None:
        """When plugins are loaded: name admin commands; the short name is the word that is typed."""

    @_register_hook
    def sundog_builders(self, add: AddClass) -> None:
        """When plugins are loaded: name steps of provisioning. Nothing asks for them yet."""

    @_register_hook
    def sundog_aliases(self, add: AddAlias) -> None:
        """When plugins are loaded: say what another product's dotted class path stands for here.

        `add("their.module.Class", "short-name", ignored=("events",), renamed={"pt_persistor_id": "persistor"})`:
        arguments that are not needed here give a note; an empty short name says that all of it is not needed.

        `add("their.module.Other", "", instead="write a Filter in custom/")`: it has no counterpart; the error gives this cure.
        A path that ends in a dot, `"their."`, stands for every class below it that no other alias names.
        """
