"""Seeding of random, numpy and torch before each call into job code, and loans of their generators to such a call."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
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


@contextmanager
def generators_lent(seed: int) -> Iterator[None]:
    """For a block, the generators are another call's, with a seed of its own; afterwards they go on as if it had not been."""
    give_back = borrow_generators()
    try:
        seed_generators(seed)
        yield
    finally:
        give_back()


def borrow_generators() -> Callable[[], None]:
    """Remember how the generators stand; what is returned puts them back. Of torch, that of the CPU."""
    python, numpy = random.getstate(), np.random.get_state(legacy=False)  # noqa: NPY002  # the global one, its half-used pair of normals included
    torch, late_seed = sys.modules.get("torch"), _LATE_TORCH.seed
    torch_state = torch.random.get_rng_state() if torch is not None else None

    def give_back() -> None:
        random.setstate(python)
        np.random.set_state(numpy)  # noqa: NPY002  # as above
        _LATE_TORCH.seed = late_seed
        if torch is not None and torch_state is not None:
            torch.random.set_rng_state(torch_state)
        elif (imported := sys.modules.get("torch")) is not None:  # meanwhile: its owner has not drawn from it yet
            imported.manual_seed(late_seed)

    return give_back


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
