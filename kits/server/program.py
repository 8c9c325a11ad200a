"""What does `sundog server KIT` run? A server with what its kit names, as a daemon."""

from __future__ import annotations

from pathlib import Path

from ...kernel.operator_roles import AccessRule, Launcher, Scheduler
from ..supervisor.daemon import run_daemon
from ..supervisor.kit_parts import KitParts
from ..supervisor.lifeline import Lifeline
from ..supervisor.means import Means
from ..workspace.folders import Workspace
from ..workspace.kit import ServerKit, read_kit
from .jobs import HOOKS
from .server import Server


def run_server(folder: Path, lifeline: Lifeline | None = None) -> None:
    """Be the server of this kit until it is stopped.

    Raises:
        NoKit, KitRefused: the folder is no server's kit, or its file has mistakes.
        WorkspaceInUse: it is started already.
        SundogError: it cannot start; the log has it too.
    """
    workspace = Workspace(folder)
    kit, notes = read_kit(folder, ServerKit)
    parts = KitParts(kit.components, "startup/fed_server.json", hooks=HOOKS)
    scheduler: Scheduler = parts.take(Scheduler, "FifoScheduler")
    launcher: Launcher = parts.take(Launcher, "ProcessLauncher")
    access: AccessRule = parts.take(AccessRule, "CommandsByRole")
    parts.refuse_rest()

    def make(means: Means) -> Server:
        server = Server(workspace, kit, means, launcher=launcher, scheduler=scheduler, access=access)
        server.jobs.observers = parts.observers
        return server

    run_daemon(workspace, make, bound={"server": kit.name}, notes=(*notes, *parts.notes), lifeline=lifeline)
