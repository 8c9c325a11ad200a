"""Who looks after the processes that the walks of the documentation start? The same fixtures as for whole jobs."""

from __future__ import annotations

from ..e2e.conftest import marked, nothing_left

__all__ = ["marked", "nothing_left"]
