"""Unlimited resources: every request is granted, nothing is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...kernel.operator_roles import ResourceManager


class AlwaysYes(ResourceManager):
    """Says yes to every job and allocates nothing; the operating system shares what there is."""

    def check(self, job_id: str, spec: Mapping[str, Any]) -> str:
        return job_id

    def allocate(self, token: str) -> Mapping[str, Any]:
        return {}

    def free(self, token: str) -> None:
        """There is nothing to give back."""
