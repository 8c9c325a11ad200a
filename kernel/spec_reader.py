"""What does one component spec say: which class, and which value for which parameter?"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from .constructors import Constructor, component_class, constructor_of
from .errors import SpecError, SundogError
from .findings import Findings, UnknownKey
from .fitting import SPEC_KEYS
from .plugins import Alias, Plugins
from .wording import did_you_mean, with_article

Scalar = str | int | float | bool

_VARIABLE = re.compile(r"\{\{(\w+)\}\}|\{([A-Za-z_]\w*)\}")


class MalformedSpec(SpecError):
    """Something is not a component spec.

    Cause: a spec is an object with either "name" or "path", and if wanted "id", "args" and "disabled".

    Cure: write {"id": "…", "name": "…", "args": {…}}.
    """

    code = "SD-1105"


class WrongRole(SpecError):
    """A component stands in a place where one of another role is wanted.

    Cause: two lists or two ids were mixed up, or the class does not inherit from its role (sundog.Filter, …), or lacks one
    of its methods.

    Cure: name a component of the wanted role, or let the class inherit from it and have its methods.
    """

    code = "SD-1106"


class UnknownVariable(SpecError):
    """A {variable} in a string is not defined.

    Cause: variables are the file's first-level strings, numbers and booleans; this is not one of them.

    Cure: define it there, or write {{name}} for a literal {name}.
    """

    code = "SD-1107"


@dataclass(frozen=True, slots=True)
class Planned:
    """A component whose class and arguments are known; it is not constructed."""

    label: str
    """Its id; without one of its own, its JSON path."""
    at: str
    kind: type
    constructor: Constructor
    arguments: dict[str, tuple[str, Any]]
    """Parameter → the key that gave it, and the JSON value."""


def scalars(document: Mapping[str, Any]) -> dict[str, Scalar]:
    """The variables that a file defines: its first-level strings, numbers and booleans."""
    return {key: value for key, value in document.items() if isinstance(value, Scalar)}


class SpecReader:
    """Reads specs; what is wrong goes to the findings.

    Args:
        variables: what `{name}` in strings stands for.
        find: imports the class of a `path`.
    """

    def __init__(self, plugins: Plugins, findings: Findings, variables: Mapping[str, Scalar], find: Callable[[str], type]) -> None:
        self._plugins = plugins
        self._findings = findings
        self._variables = variables
        self._find = find
        self.variables_read: set[str] = set()

    def read(self, spec: Any, at: str, want: type = object, label: str = "", *, hint: Any = None) -> Planned | None:
        """The plan of a spec; None when it is disabled, not needed here, or wrong.

        Args:
            want: what its class must inherit from.
            hint: the annotation of its place, which decides between classes of one name; default: `want`.
        """
        if not self._is_well_formed(spec, at) or spec.get("disabled"):
            return None
        key = "path" if "path" in spec else "name"
        alias = self._plugins.alias(spec[key])
        if alias is not None and not alias.name and not alias.instead:
            self._findings.note(at, f"{spec[key]} is not needed here")
            return None
        try:
            is_path = key == "path" and alias is None
            kind = self._find(spec[key]) if is_path else self._plugins.resolve(spec[key], want if hint is None else hint)
        except SundogError as error:
            self._findings.take(error, f"{at}.{key}")
            return None
        wrong = "" if issubclass(kind, want) else f"wanted {with_article(want.__name__)}, got {_full(kind)}, which does not inherit from it"
        if inspect.isabstract(kind):
            wrong = wrong or f"{_full(kind)} cannot be made: it lacks {', '.join(sorted(getattr(kind, '__abstractmethods__', ())))}"
        if wrong:
            self._findings.add(WrongRole, at, wrong)
            return None
        constructor = constructor_of(kind)
        arguments = self._arguments(spec.get("args", {}), f"{at}.args", kind, constructor, alias or Alias("", kind.__name__))
        return Planned(label or at, at, kind, constructor, arguments)

    def fill(self, value: Any, at: str) -> Any:
        """The value with `{variables}` filled in; a string that is only one variable takes its type."""
        if isinstance(value, dict):
            return {key: self.fill(item, f"{at}.{key}") for key, item in value.items()}
        if isinstance(value, list):
            return [self.fill(item, f"{at}[{index}]") for index, item in enumerate(value)]
        if not isinstance(value, str):
            return value
        whole = _VARIABLE.fullmatch(value)
        if whole and whole[2]:
            return self._variable(whole[2], at)
        return _VARIABLE.sub(lambda found: f"{{{found[1]}}}" if found[1] else str(self._variable(found[2], at)), value)

    def _variable(self, name: str, at: str) -> Scalar:
        if name not in self._variables:
            self._findings.add(UnknownVariable, at, f"there is no variable {name!r}{did_you_mean(name, self._variables)}")
        self.variables_read.add(name)
        return self._variables.get(name, "")

    def _is_well_formed(self, spec: Any, at: str) -> bool:
        if not isinstance(spec, dict):
            self._findings.add(MalformedSpec, at, f"wanted an object with name or path, got {type(spec).__name__}")
            return False
        self._findings.check_keys(spec, SPEC_KEYS, at)
        wrong = [key for key in ("id", "name", "path") if not isinstance(spec.get(key, ""), str)]
        wrong += [key for key, kind in (("args", dict), ("disabled", bool)) if not isinstance(spec.get(key, kind()), kind)]
        for key in wrong:
            wanted = {"args": "an object", "disabled": "true or false"}.get(key, "a string")
            self._findings.add(MalformedSpec, f"{at}.{key}", f"wanted {wanted}, got {spec[key]!r}")
        if ("name" in spec) == ("path" in spec):
            both = "both" if "name" in spec else "neither"
            self._findings.add(MalformedSpec, at, f'wanted either "name" or "path", got {both}')
            return False
        return not wrong

    def _arguments(self, args: dict[str, Any], at: str, kind: type, constructor: Constructor, alias: Alias) -> dict[str, tuple[str, Any]]:
        found: dict[str, tuple[str, Any]] = {}
        for key, value in args.items():
            name = key if key in constructor.parameters else alias.renamed.get(key) or _referred(key, constructor)
            if name is None and key in alias.ignored:
                self._findings.note(f"{at}.{key}", "an argument of FLARE 2.1 that is not needed here")
            elif name is None and not constructor.is_open:
                hint = did_you_mean(key, constructor.parameters) or "; it takes none"
                self._findings.add(UnknownKey, f"{at}.{key}", f"{kind.__name__} has no argument {key!r}{hint}")
            elif name in found:
                self._findings.add(UnknownKey, f"{at}.{key}", f"gives the argument {name!r} that {found[name][0]!r} gives as well")
            else:
                parameter = constructor.parameters.get(name or key)
                is_reference = (
                    name != key and isinstance(value, str) and parameter is not None and component_class(parameter.hint) is not None
                )
                found[name or key] = (key, {"ref": value} if is_reference else value)
        return found


def _full(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _referred(key: str, constructor: Constructor) -> str | None:
    """The parameter that FLARE's `aggregator_id` or `pt_persistor_id` fills: `aggregator`, `persistor`, if it wants an object."""
    if not key.endswith("_id"):
        return None
    words = key.removesuffix("_id").split("_")
    names = ["_".join(words[start:]) for start in range(len(words))]
    parameters = [constructor.parameters[name] for name in names if name in constructor.parameters]
    return next((parameter.name for parameter in parameters if component_class(parameter.hint)), None)
