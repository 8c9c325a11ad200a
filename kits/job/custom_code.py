"""How is an app's custom/ folder imported from, when several apps may share a process, with modules of the same names?"""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import ClassVar, Self

from ...kernel.plugins import plugins


class CustomCode:
    """Makes an app's custom/ importable while it is entered; its modules are this app's alone.

    In the simulator apps take turns on one thread: the one entered last has the import path and the modules, and whom it
    interrupts gets them back. May be entered again while it is.

    Args:
        folder: the app's folder; it need not have a custom/.
    """

    _entered: ClassVar[list[CustomCode]] = []

    def __init__(self, folder: Path) -> None:
        self._folder = str((folder / "custom").resolve())
        self._modules: dict[str, ModuleType] = {}
        self._count = 0
        """How many modules there were when this was entered: looking through all of them takes longer than an empty round."""

    def __enter__(self) -> Self:
        plugins()  # first: a package that lies in custom/ must not be taken for an installed plugin
        if self._entered:
            self._entered[-1].leave()
        self._entered.append(self)
        self.come()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._entered.pop().leave()
        if self._entered:
            self._entered[-1].come()

    def come(self) -> None:
        """Take the import path; bring one's modules."""
        sys.path.insert(0, self._folder)
        sys.modules.update(self._modules)
        self._count = len(sys.modules)

    def leave(self) -> None:
        """Give the import path back; take one's modules away."""
        if self._folder in sys.path:  # job code may have changed it
            sys.path.remove(self._folder)
        if len(sys.modules) != self._count:
            self._modules = {name: module for name, module in list(sys.modules.items()) if self._has(module)}
        for name in self._modules:
            sys.modules.pop(name, None)

    def _has(self, module: ModuleType) -> bool:
        """Whether a module lies in the folder; a package without __init__.py has no file, only places."""
        facts = vars(module)  # not getattr: some modules import more when they are asked
        places = [facts.get("__file__"), *(facts.get("__path__") or ())]
        return any(str(place).startswith(f"{self._folder}/") for place in places)
