"""The components of a participant's kit: those that the operator names, and built-in ones for the other roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ...kernel.errors import DaemonError
from ...kernel.findings import refuse
from ...kernel.operator_roles import OPERATOR_ROLES
from ...kernel.plugins import plugins
from ...kernel.specs import Components
from ...kernel.wording import with_article


class ComponentTwice(DaemonError):
    """A kit names two components for one purpose.

    Cause: "components" in the kit's file has, for instance, two schedulers.

    Cure: remove one of them, or disable it: "disabled": true.
    """

    code = "SD-5041"


class ComponentUnused(DaemonError):
    """A kit names a component that this kind of participant has no use for.

    Cause: it belongs in another participant's kit or in a job, or it has neither a role nor `@observe` methods.

    Cure: remove it from "components"; what observes a run belongs in the "components" of the job.
    """

    code = "SD-5042"


class KitParts:
    """The components of a kit, constructed.

    Args:
        specs: "components" of the kit.
        file: what messages call the kit's file.
        hooks: the observer hooks that this participant calls.

    Raises:
        SundogError: what is wrong with them (see `findings.refuse`).
        ConstructorRaised: a constructor raised.
    """

    def __init__(self, specs: Sequence[dict[str, Any]], file: str, hooks: Sequence[str] = ()) -> None:
        self._file = file
        self._called = hooks
        components = Components(plugins(), file=file)
        for index, spec in enumerate(specs):
            components.add(spec, f"components[{index}]", has_id=True)
        refuse(components.check())
        built = components.build_all()
        self._parts = {name: part for name, part in built.items() if name not in components.referred}
        self.observers = plugins().observers()
        """Those among them, nested ones too, and the plugin modules that watch."""
        self._observed = {name: self.observers.register(part, name) for name, part in components.instances.items()}
        self.notes = (*components.findings.notes, *self._unheard())

    def _unheard(self) -> Iterator[str]:
        for name, hooks in self._observed.items():
            for hook in hooks:
                if hook not in self._called:
                    called = " and ".join(self._called) or "none"
                    yield f"{self._file}: component {name!r} observes {hook}, which is never called here (called are: {called})"

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
        return plugins().resolve(built_in, role)()

    def refuse_rest(self) -> None:
        """Go on if every component was taken for a role, observes, or is part of another one.

        Raises:
            ComponentUnused: one is of no use.
        """
        for name, part in self._parts.items():
            role = next((role.__name__ for role in OPERATOR_ROLES if isinstance(part, role)), "")
            if not role and self._called and self._observed[name]:
                continue
            what = f"{with_article(role)} has no place here" if role else f"{type(part).__name__} has no operator's role"
            what += f", and its hooks are never called here: {', '.join(self._observed[name])}" if self._observed[name] else ""
            raise ComponentUnused(f"unused component {name!r}: {what}", where=self._file)
