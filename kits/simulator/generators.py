"""Loan of the global random generators to a site's task that runs in the middle of the server's workflow."""

from __future__ import annotations

from collections.abc import Callable

from ...components.seeding import borrow_generators


class Generators:
    """Lends the generators to sites, so that their draws are not missed by the server's code.

    Several tasks in a row are one loan: each is seeded anyway before it begins.
    """

    def __init__(self) -> None:
        self._give_back: Callable[[], None] | None = None

    def lend(self) -> None:
        """A site's code is next."""
        if self._give_back is None:
            self._give_back = borrow_generators()

    def give_back(self) -> None:
        """The server's code is next; does nothing if it has them."""
        if self._give_back is not None:
            self._give_back()
            self._give_back = None
