"""What does `import sundog` offer? Each public name, fetched from its home when it is first asked for.

Nothing of ours is imported here: `import sundog` costs nothing, and pytest, which loads this file once more as the
root package of the repository, gets the very same classes.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "register": "kernel.hookspecs",
    "observe": "kernel.hookspecs",
    "Key": "kernel.context",
    "Context": "kernel.context",
    "Shareable": "kernel.shareable",
    "Kind": "kernel.shareable",
    "Blob": "kernel.blobs",
    "AccessRule": "kernel.operator_roles",
    "Aggregator": "kernel.roles",
    "Decision": "kernel.operator_roles",
    "Executor": "kernel.roles",
    "Filter": "kernel.roles",
    "JobHandle": "kernel.operator_roles",
    "Launcher": "kernel.operator_roles",
    "LaunchSpec": "kernel.operator_roles",
    "Learner": "components.executors.learner",
    "ModelLocator": "kernel.roles",
    "ModelUpdate": "kernel.roles",
    "Persistor": "kernel.roles",
    "Policy": "kernel.roles",
    "ResourceManager": "kernel.operator_roles",
    "RunningJob": "kernel.operator_roles",
    "WaitingJob": "kernel.operator_roles",
    "Result": "kernel.tasks",
    "Run": "kernel.roles",
    "Scheduler": "kernel.operator_roles",
    "Subject": "kernel.operator_roles",
    "Task": "kernel.tasks",
    "Tracker": "kernel.operator_roles",
    "Workflow": "kernel.roles",
    "Connection": "kernel.transport",
    "Listener": "kernel.transport",
    "Transport": "kernel.transport",
    "SundogError": "kernel.errors",
    "Session": "kits.admin.session",
    "AtServer": "kits.commands.declaration",
    "AtSite": "kits.commands.declaration",
    "Command": "kits.commands.declaration",
    "Parameter": "kits.protocol.requests",
    "Request": "kits.protocol.requests",
    "TargetedRequest": "kits.protocol.requests",
    "site": "components.executors.script_site",
    "simulate": "kits.simulator.simulate",
}

__all__ = [*_HOMES, "__version__"]  # noqa: PLE0604  # one list: a test compares it with the imports below

if TYPE_CHECKING:
    from .components.executors.learner import Learner as Learner
    from .components.executors.script_site import site as site
    from .kernel.blobs import Blob as Blob
    from .kernel.context import Context as Context
    from .kernel.context import Key as Key
    from .kernel.errors import SundogError as SundogError
    from .kernel.hookspecs import observe as observe
    from .kernel.hookspecs import register as register
    from .kernel.operator_roles import AccessRule as AccessRule
    from .kernel.operator_roles import Decision as Decision
    from .kernel.operator_roles import JobHandle as JobHandle
    from .kernel.operator_roles import Launcher as Launcher
    from .kernel.operator_roles import LaunchSpec as LaunchSpec
    from .kernel.operator_roles import ResourceManager as ResourceManager
    from .kernel.operator_roles import RunningJob as RunningJob
    from .kernel.operator_roles import Scheduler as Scheduler
    from .kernel.operator_roles import Subject as Subject
    from .kernel.operator_roles import Tracker as Tracker
    from .kernel.operator_roles import WaitingJob as WaitingJob
    from .kernel.roles import Aggregator as Aggregator
    from .kernel.roles import Executor as Executor
    from .kernel.roles import Filter as Filter
    from .kernel.roles import ModelLocator as ModelLocator
    from .kernel.roles import ModelUpdate as ModelUpdate
    from .kernel.roles import Persistor as Persistor
    from .kernel.roles import Policy as Policy
    from .kernel.roles import Run as Run
    from .kernel.roles import Workflow as Workflow
    from .kernel.shareable import Kind as Kind
    from .kernel.shareable import Shareable as Shareable
    from .kernel.tasks import Result as Result
    from .kernel.tasks import Task as Task
    from .kernel.transport import Connection as Connection
    from .kernel.transport import Listener as Listener
    from .kernel.transport import Transport as Transport
    from .kits.admin.session import Session as Session
    from .kits.commands.declaration import AtServer as AtServer
    from .kits.commands.declaration import AtSite as AtSite
    from .kits.commands.declaration import Command as Command
    from .kits.protocol.requests import Parameter as Parameter
    from .kits.protocol.requests import Request as Request
    from .kits.protocol.requests import TargetedRequest as TargetedRequest
    from .kits.simulator.simulate import simulate as simulate
else:  # hidden from type checkers, which would take every misspelt name for Any

    def __getattr__(name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(f"sundog.{_HOMES[name]}"), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *_HOMES})
