"""From where do the global random generators of a job's libraries go on? From a seed, before each call into job code."""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import numpy as np


def seed_generators(seed: int) -> None:
    """Seed `random`, `numpy.random` and torch's default generators with one number.

    A library nobody needs is not imported for it: torch is seeded as soon as it is first imported, so that a process
    that had it before and one that did not draw the same numbers.
    """
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # the global generator is the one that other people's code draws from
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)
    else:
        _LATE_TORCH.seed = seed
        if _LATE_TORCH not in sys.meta_path:
            sys.meta_path.insert(0, _LATE_TORCH)


class _SeedWhenImported(MetaPathFinder):
    """Lets the other finders find a library, and seeds it at the end of its import."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.seed = 0

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if fullname != self.library:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        spec = next((found for finder in others if (found := finder.find_spec(fullname, path, target))), None)
        if spec is not None and spec.loader is not None:
            self._wrap(spec.loader)
        return spec

    def _wrap(self, loader: Loader) -> None:
        load = loader.exec_module

        def load_and_seed(module: ModuleType) -> None:
            load(module)
            module.manual_seed(self.seed)
            if self in sys.meta_path:
                sys.meta_path.remove(self)

        loader.exec_module = load_and_seed  # type: ignore[method-assign]  # the loader is made anew for each search


_LATE_TORCH = _SeedWhenImported("torch")
