"""Numbered resources of a site, such as GPUs: reservation and allocation by unit."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import msgspec

from ...kernel.operator_roles import ResourceManager
from .missing import ResourcesMissing


@dataclass
class _Holding:
    """What one job has reserved or was allocated."""

    job_id: str
    spec: Mapping[str, Any]
    units: dict[str, list[int | str]]
    expires_at: float | None
    """When the reservation ends, on the manager's clock; None: it is an allocation."""


class ListResourceManager(ResourceManager):
    """Gives out units from lists, the first free ones first. A reservation that is not used in time is void.

    A job's `resource_spec` says how many it wants: {"gpu": 2}. It gets the same answer however often it asks.

    Args:
        resources: resource → its units: {"gpu": [0, 1]}.
        expiration_period: seconds that a reservation holds.
        clock: gives seconds; injected in tests.
    """

    def __init__(
        self,
        resources: dict[str, list[int | str]],
        expiration_period: Annotated[float, msgspec.Meta(gt=0)] = 30.0,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resources = {name: list(units) for name, units in resources.items()}
        self.expiration_period = expiration_period
        self._clock = clock
        self._holdings: dict[str, _Holding] = {}

    def check(self, job_id: str, spec: Mapping[str, Any]) -> str:
        self._drop_expired()
        expires_at = self._clock() + self.expiration_period
        for token, holding in self._holdings.items():
            if holding.job_id != job_id:
                continue
            if holding.expires_at is not None and holding.spec != spec:
                del self._holdings[token]
                break
            if holding.expires_at is not None:
                holding.expires_at = expires_at
            return token
        units = {name: self._free_units(name, count) for name, count in spec.items()}
        token = secrets.token_hex(8)
        self._holdings[token] = _Holding(job_id, dict(spec), units, expires_at)
        return token

    def allocate(self, token: str) -> Mapping[str, Any]:
        """Turn a reservation into an allocation, e.g. {"gpu": [0]}; twice gives the same.

        Raises:
            ResourcesMissing: the reservation is over.
        """
        self._drop_expired()
        holding = self._holdings.get(token)
        if holding is None:
            raise ResourcesMissing(f"the reservation is over: it held for {self.expiration_period:g} s")
        holding.expires_at = None
        return {name: list(units) for name, units in holding.units.items()}

    def free(self, token: str) -> None:
        self._holdings.pop(token, None)

    def environment(self, allocated: Mapping[str, Any]) -> dict[str, str]:
        """CUDA_VISIBLE_DEVICES with the GPUs that were allocated; nothing when the job asked for none."""
        return {"CUDA_VISIBLE_DEVICES": ",".join(map(str, allocated["gpu"]))} if "gpu" in allocated else {}

    def available(self) -> Mapping[str, Any]:
        """The number of free units of each resource, e.g. {"gpu": 2}."""
        self._drop_expired()
        held = {(name, unit) for holding in self._holdings.values() for name, units in holding.units.items() for unit in units}
        return {name: sum((name, unit) not in held for unit in units) for name, units in self.resources.items()}

    def _free_units(self, name: str, count: Any) -> list[int | str]:
        if not isinstance(count, int) or isinstance(count, bool) or count < 0:
            raise ResourcesMissing(f"wanted a number of units from 0 on, got {count!r}", where=f"resource_spec.{name}")
        units = self.resources.get(name, [])
        held = {unit: holding.job_id for holding in self._holdings.values() for unit in holding.units.get(name, [])}
        free = [unit for unit in units if unit not in held]
        if len(free) < count:
            holders = "; ".join(f"{unit} is held by job {held[unit]}" for unit in units if unit in held)
            has = f"{len(free)} of {len(units)} are free" if units else "this site offers none"
            raise ResourcesMissing(f"wanted {count} {name}, {has}" + (f" ({holders})" if holders else ""))
        return free[:count]

    def _drop_expired(self) -> None:
        now = self._clock()
        self._holdings = {t: held for t, held in self._holdings.items() if held.expires_at is None or now < held.expires_at}
