"""What does `sundog site KIT` run? A site with what its kit names, as a daemon."""

from __future__ import annotations

from pathlib import Path

from ...kernel.operator_roles import AccessRule, Launcher, ResourceManager
from ..supervisor.daemon import run_daemon
from ..supervisor.kit_parts import KitParts
from ..supervisor.lifeline import Lifeline
from ..supervisor.means import Means
from ..workspace.folders import Workspace
from ..workspace.kit import SiteKit, read_kit
from .site import Site


def run_site(folder: Path, lifeline: Lifeline | None = None) -> None:
    """Be the site of this kit until it is stopped.

    Raises:
        NoKit, KitRefused: the folder is no site's kit, or its file has mistakes.
        WorkspaceInUse: it is started already.
        SundogError: it cannot start; the log has it too.
    """
    workspace = Workspace(folder)
    kit, notes = read_kit(folder, SiteKit)
    parts = KitParts(kit.components, "startup/fed_client.json")
    resources: ResourceManager = parts.take(ResourceManager, "AlwaysYes")
    launcher: Launcher = parts.take(Launcher, "ProcessLauncher")
    access: AccessRule = parts.take(AccessRule, "CommandsByRole")
    parts.refuse_rest()

    def make(means: Means) -> Site:
        site = Site(workspace, kit, means, launcher=launcher, resources=resources, access=access)
        if lifeline is not None:
            site.on_refused = lambda error: lifeline.tell_refused(str(error))
        return site

    run_daemon(workspace, make, bound={"site": kit.name}, notes=(*notes, *parts.notes), lifeline=lifeline)
