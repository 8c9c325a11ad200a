"""Which of its components did the operator name in a participant's kit, and which are the built-in ones?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...kernel.errors import DaemonError
from ...kernel.findings import refuse
from ...kernel.operator_roles import OPERATOR_ROLES
from ...kernel.plugins import plugins
from ...kernel.specs import Components


class ComponentTwice(DaemonError):
    """A kit names two components for one purpose.

    Cause: "components" in the kit's file has, for instance, two schedulers.

    Cure: remove one of them, or disable it: "disabled": true.
    """

    code = "SD-5041"


class ComponentUnused(DaemonError):
    """A kit names a component that this kind of participant has no use for.

    Cause: it belongs into another participant's kit, or into a job.

    Cure: remove it from "components".
    """

    code = "SD-5042"


class KitParts:
    """The components of a kit, constructed.

    Args:
        specs: "components" of the kit.
        file: what messages call the kit's file.

    Raises:
        SundogError: what is wrong with them (see `findings.refuse`).
        ConstructorRaised: a constructor raised.
    """

    def __init__(self, specs: Sequence[dict[str, Any]], file: str) -> None:
        self._file = file
        components = Components(plugins(), file=file)
        for index, spec in enumerate(specs):
            components.add(spec, f"components[{index}]", has_id=True)
        refuse(components.check())
        self.notes = tuple(components.findings.notes)
        self._parts = components.build_all()

    def take(self, role: type, built_in: str) -> Any:
        """The one component of a role; when there is none, the built-in one of this short name.

        Raises:
            ComponentTwice: there are several.
        """
        found = {name: part for name, part in self._parts.items() if isinstance(part, role)}
        if len(found) > 1:
            raise ComponentTwice(f"wanted one {role.__name__}, got {' and '.join(found)}", where=self._file)
        for name, part in found.items():
            del self._parts[name]
            return part
        return plugins().resolve(built_in)()

    def refuse_rest(self) -> None:
        """Go on if every component that plays a role was taken.

        Raises:
            ComponentUnused: one was not.
        """
        for name, part in self._parts.items():
            played = [role for role in OPERATOR_ROLES if isinstance(part, role)]
            if played:
                raise ComponentUnused(f"nobody here needs {name!r}, a {played[0].__name__}", where=self._file)
