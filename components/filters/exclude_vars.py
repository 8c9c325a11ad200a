"""How are variables kept from leaving? They are taken out of what passes."""

from __future__ import annotations

from ...kernel.context import Context
from ...kernel.roles import Filter
from ...kernel.shareable import Shareable
from ..naming import matcher


class ExcludeVars(Filter):
    """Takes tensors out; those that stay are not read.

    Args:
        exclude_vars: their names, or a regular expression that is searched for in the names; those of a COLLECTION are
            called member/tensor. Nothing is taken out by default.
    """

    def __init__(self, exclude_vars: str | list[str] | None = None) -> None:
        self._is_excluded = matcher(exclude_vars)

    def process(self, shareable: Shareable, ctx: Context) -> Shareable:
        kept = [name for name in shareable.tensors if not self._is_excluded(name)]
        return shareable.replace(tensors=shareable.tensors.select(kept))
