"""The components that an operator names in a kit."""

from __future__ import annotations

import pytest

from sundog.components.resources.counted import ListResourceManager
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.operator_roles import Launcher, ResourceManager, Scheduler
from sundog.kernel.plugins import UnknownName
from sundog.kits.supervisor.kit_parts import ComponentTwice, ComponentUnused, KitParts

GPUS = {"id": "resource_manager", "name": "ListResourceManager", "args": {"resources": {"gpu": [0, 1]}}}


def test_what_is_not_named_is_built_in() -> None:
    parts = KitParts([], "kit.json")

    assert isinstance(parts.take(Scheduler, "FifoScheduler"), FifoScheduler)
    assert parts.take(Launcher, "ProcessLauncher").isolation == "none"
    parts.refuse_rest()


def test_what_is_named_is_found_by_its_role() -> None:
    parts = KitParts([GPUS], "kit.json")

    assert isinstance(parts.take(ResourceManager, "AlwaysYes"), ListResourceManager)
    parts.refuse_rest()


def test_two_for_one_purpose_are_refused() -> None:
    parts = KitParts([{"id": "a", "name": "FifoScheduler"}, {"id": "b", "name": "FifoScheduler"}], "kit.json")

    with pytest.raises(ComponentTwice, match=r"kit\.json: wanted one Scheduler, got a and b"):
        parts.take(Scheduler, "FifoScheduler")


def test_one_that_nobody_needs_is_refused() -> None:
    parts = KitParts([GPUS], "kit.json")

    with pytest.raises(ComponentUnused, match="nobody here needs 'resource_manager', a ResourceManager"):
        parts.refuse_rest()


def test_what_flare_names_and_is_not_needed_gives_a_note() -> None:
    parts = KitParts([{"id": "consumer", "path": "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer"}], "k")

    parts.refuse_rest()
    assert "GPUResourceConsumer" in "".join(parts.notes)


def test_a_mistake_is_named() -> None:
    with pytest.raises(UnknownName, match="FifoSchedular"):
        KitParts([{"id": "scheduler", "name": "FifoSchedular"}], "kit.json")
