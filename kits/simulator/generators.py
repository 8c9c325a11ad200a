"""Whose numbers do the global random generators give, when a site's task runs in the middle of the server's workflow?"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable

import numpy as np


class Generators:
    """Lends the global generators of `random`, `numpy.random` and torch to sites, so that their draws are not missed by the server's code.

    Several tasks in a row are one loan: each is seeded anyway before it begins.
    """

    def __init__(self) -> None:
        self._site = np.random.MT19937()  # legacy seeding needs one; its state does not matter
        self._give_back: Callable[[], None] | None = None

    def lend(self) -> None:
        """A site's code is next."""
        if self._give_back is None:
            self._give_back = self._kept()

    def give_back(self) -> None:
        """The server's code is next; does nothing if it has them."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None

    def _kept(self) -> Callable[[], None]:
        """Take them from the server; what is returned gives them back as they were."""
        torch = sys.modules.get("torch")
        python, numpy = random.getstate(), np.random.mtrand.get_bit_generator()
        torch_state = torch.random.get_rng_state() if torch is not None else None
        np.random.mtrand.set_bit_generator(self._site)

        def restore() -> None:
            random.setstate(python)
            np.random.mtrand.set_bit_generator(numpy)
            if torch is not None and torch_state is not None:
                torch.random.set_rng_state(torch_state)

        return restore
