"""Which components does a config file describe, and do they fit together?

Two phases. `add` and `check` import classes and compare every spec with its constructor, without constructing
anything. `build` constructs each component once, after those it refers to.
"""

from __future__ import annotations

import graphlib
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from .errors import Failure, SpecError, SundogError
from .findings import Findings
from .fitting import Fitter, Made
from .importing import import_class
from .plugins import Plugins
from .spec_reader import MalformedSpec, Planned, Scalar, SpecReader, WrongRole
from .wording import did_you_mean

_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}")


class MissingArgument(SpecError):
    """A constructor needs an argument that the spec does not give.

    Cause: the argument has no default value.

    Cure: add it to "args".
    """

    code = "SD-1108"


class WrongValue(SpecError):
    """An argument has a value of another type, or out of its range.

    Cause: the constructor's annotation says what it takes.

    Cure: give a value of the wanted type.
    """

    code = "SD-1109"


class BadReference(SpecError):
    """An id is referred to that no component of this file has.

    Cause: a typing mistake, or the component is disabled.

    Cure: take the id from the file's "components".
    """

    code = "SD-1110"


class ReferenceCycle(SpecError):
    """Components refer to each other in a circle, so none can be made first.

    Cause: the ids named in the message.

    Cure: let one of them look up the other when it needs it: `ctx.components["id"]`.
    """

    code = "SD-1111"


class DuplicateId(SpecError):
    """Two components of a file have one id.

    Cause: a spec copied and not changed.

    Cure: give one of them another id, and mend what refers to it.
    """

    code = "SD-1112"


class ConstructorRaised(SpecError):
    """A component's constructor raised an exception.

    Cause: the exception named in the message, with the line it comes from.

    Cure: look at that line and at the component's "args".
    """

    code = "SD-1113"


class Components:
    """The components of one config file.

    Args:
        plugins: where short names and aliases are looked up.
        file: named in messages.
        variables: what `{name}` in strings stands for (see `spec_reader.scalars`).
        find: imports the class of a `path`; a policy may refuse in it.
        prepare: called with a component's label (id or JSON path) just before its constructor; the runtime seeds
            its generators in it.
    """

    def __init__(
        self,
        plugins: Plugins,
        *,
        file: str,
        variables: Mapping[str, Scalar] | None = None,
        find: Callable[[str], type] = import_class,
        prepare: Callable[[str], object] = lambda _label: None,
    ) -> None:
        self.findings = Findings(file)
        """What is wrong, and what is left out; a caller adds what it finds itself."""
        self.instances: dict[str, object] = {}
        """Label → object, of all that was built: nested ones, which go by their JSON path, as well."""
        self._reader = SpecReader(plugins, self.findings, variables or {}, find)
        self._prepare = prepare
        self._planned: dict[str, Planned] = {}
        self._by_id: dict[str, Planned] = {}
        self._absent: dict[str, bool] = {}
        """Ids of components that will not be built → whether because they are wrong, rather than disabled or not needed here."""
        self.kinds: dict[str, type] = {}
        """JSON path → class, of all components, nested ones as well; known after `check`."""
        self.referred: set[str] = set()
        """Ids that other components refer to; known after `check`."""
        self._is_checked = False

    @property
    def variables_read(self) -> set[str]:
        """The names of the variables that some string used."""
        return self._reader.variables_read

    def add(self, spec: Any, at: str, want: type = object, *, has_id: bool = False) -> Planned | None:
        """Take in a spec that stands at a JSON path and must be of a role.

        Args:
            has_id: it must have an id, by which others may refer to it.

        Returns:
            What `build` takes; None when it is disabled, not needed here, or wrong.
        """
        self._is_checked = False
        before = len(self.findings.errors)
        spec = self._reader.fill(spec, at)
        name = spec.get("id") if isinstance(spec, dict) else None
        label = name if isinstance(name, str) and name not in self._planned else at
        is_filled = len(self.findings.errors) == before  # else a value that is missing would be called a wrong one
        planned = self._reader.read(spec, at, want, label) if is_filled else None
        if planned is not None:
            self._planned[planned.label] = planned
        if has_id and isinstance(spec, dict):
            self._keep_id(name, at, planned, is_wrong=len(self.findings.errors) > before)
        return planned

    def check(self) -> list[SundogError]:
        """All that is wrong with what was added: it is compared with the constructors, nothing is constructed."""
        needs: dict[str, list[str]] = {}
        for planned in self._planned.values():
            needs[planned.label] = []
            self._fit(planned, partial(self._foresee, needs[planned.label]))
        try:
            graphlib.TopologicalSorter(needs).prepare()
        except graphlib.CycleError as error:
            circle = error.args[1]
            self.findings.add(ReferenceCycle, self._by_id[circle[0]].at, f"{' is needed by '.join(circle)}")
        self.referred = {name for names in needs.values() for name in names}
        self._is_checked = True
        return self.findings.errors

    def build_all(self) -> dict[str, object]:
        """Construct every component that has an id, and give them by id, in the order of the file. Raises: as `build`."""
        return {name: self.build(planned) for name, planned in self._by_id.items()}

    def build(self, planned: Planned) -> object:
        """Construct one component (once), after those it refers to.

        Raises:
            SundogError: there are findings (see `findings.refuse`).
            ConstructorRaised: a constructor raised; a SundogError that it raises comes as it is.
        """
        if not self._is_checked:
            self.check()
        self.findings.refuse()
        if planned.label not in self.instances:
            self.instances[planned.label] = self._construct(planned)
        return self.instances[planned.label]

    def _keep_id(self, name: Any, at: str, planned: Planned | None, *, is_wrong: bool) -> None:
        if not isinstance(name, str) or not _ID.fullmatch(name):
            self.findings.add(MalformedSpec, f"{at}.id", f"wanted an id of up to 63 letters, digits and . _ -, got {name!r}")
        elif name in self._by_id or name in self._absent:
            self.findings.add(DuplicateId, f"{at}.id", f"another component has the id {name!r}")
        elif planned is None:
            self._absent[name] = is_wrong
        else:
            self._by_id[name] = planned

    def _fit(self, planned: Planned, make: Callable[[dict[str, Any], str, Any], Made | None]) -> dict[str, Any]:
        """The constructor's arguments, with `make` making components; misfits go to the findings."""
        self.kinds[planned.at] = planned.kind
        fitter = Fitter(make)
        parameters = planned.constructor.parameters
        fitted = {}
        for name, (key, value) in planned.arguments.items():
            parameter = parameters.get(name)
            is_default = parameter is not None and not parameter.is_required and value is None and parameter.default is None
            hint = parameter.hint if parameter and not is_default else Any
            fitted[name] = fitter.fit(value, hint, f"{planned.at}.args.{key}")
        for misfit in fitter.misfits:
            self.findings.add(WrongRole if isinstance(misfit.got, Made) else WrongValue, misfit.at, str(misfit))
        for parameter in parameters.values():
            if parameter.is_required and parameter.name not in fitted:
                self.findings.add(MissingArgument, f"{planned.at}.args", f"{planned.kind.__name__} needs the argument {parameter.name!r}")
        return fitted

    def _foresee(self, needs: list[str], value: dict[str, Any], at: str, hint: Any) -> Made | None:
        """What will stand at a place, known by its class only."""
        if value.keys() != {"ref"}:
            planned = self._reader.read(value, at, hint=hint)
            if planned is None:
                return None
            self._fit(planned, partial(self._foresee, needs))
            return Made(planned.kind)
        name = value["ref"]
        if name in self._by_id:
            needs.append(name)
            return Made(self._by_id[name].kind)
        if not self._absent.get(name):  # else the first cause is told already
            why = "is disabled or not needed here" if name in self._absent else "does not exist"
            self.findings.add(BadReference, at, f"the component {name!r} {why}{did_you_mean(str(name), self._by_id)}")
        return None

    def _make(self, value: dict[str, Any], at: str, hint: Any) -> Made | None:
        planned = self._by_id[value["ref"]] if value.keys() == {"ref"} else self._reader.read(value, at, hint=hint)
        if planned is None:  # disabled
            return None
        return Made(planned.kind, self.build(planned))

    def _construct(self, planned: Planned) -> object:
        arguments = self._fit(planned, self._make)
        self._prepare(planned.label)
        try:
            return planned.kind(**arguments)
        except SundogError as error:
            error.where = error.where or f"{self.findings.file}: {planned.at}"
            raise
        except Exception as error:  # a stranger's code
            failure = Failure.of(error)
            where = f"{self.findings.file}: {planned.at}"
            raise ConstructorRaised(f"{planned.kind.__name__} raised {failure.what} ({failure.where})", where=where) from error
