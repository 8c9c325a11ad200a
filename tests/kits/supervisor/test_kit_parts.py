"""The components that an operator names in a kit."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from sundog.components.resources.counted import ListResourceManager
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.hookspecs import observe
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

    with pytest.raises(ComponentUnused, match="unused component 'resource_manager': a ResourceManager has no place here"):
        parts.refuse_rest()


def test_what_flare_names_and_is_not_needed_gives_a_note() -> None:
    parts = KitParts([{"id": "consumer", "path": "nvflare.app_common.resource_consumers.gpu_resource_consumer.GPUResourceConsumer"}], "k")

    parts.refuse_rest()
    assert "GPUResourceConsumer" in "".join(parts.notes)


class Plain:
    def __init__(self, inner: object = None) -> None:
        self.inner = inner


class Ledger(Plain):
    """An operator's observer."""

    @observe
    def job_state_changed(self, state: str) -> None:
        states.append(state)

    @observe
    def step_ended(self) -> None: ...


class Picky(FifoScheduler):
    """A scheduler that takes another component."""

    def __init__(self, helper: object) -> None:
        super().__init__()
        self.helper = helper


states: list[str] = []


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("kit_components_h40")
    vars(module).update({kind.__name__: kind for kind in (Plain, Ledger, Picky)})
    monkeypatch.setitem(sys.modules, module.__name__, module)
    states.clear()


def spec(name: str, kind: type, **args: object) -> dict[str, Any]:
    return {"id": name, "path": f"kit_components_h40.{kind.__name__}", "args": args}


def server_parts(*specs: dict[str, Any]) -> KitParts:
    return KitParts(specs, "kit.json", hooks=["job_state_changed"])


def test_an_observer_is_called_and_a_hook_that_is_never_called_gives_a_note() -> None:
    parts = server_parts(spec("ledger", Ledger))
    parts.refuse_rest()

    parts.observers.events.job_state_changed(job_id="1", state="RUNNING", reason="")

    assert states == ["RUNNING"]
    assert parts.notes == ("kit.json: component 'ledger' observes step_ended, which is never called here (called are: job_state_changed)",)


def test_a_nested_observer_and_one_that_is_referred_to_are_called() -> None:
    nested = spec("ledger", Ledger, inner=spec("", Ledger) | {"id": "inner"})
    parts = server_parts(spec("scheduler", Picky, helper={"ref": "ledger"}), nested)

    assert isinstance(parts.take(Scheduler, "FifoScheduler"), Picky)
    parts.refuse_rest()
    parts.observers.events.job_state_changed("1", "RUNNING", "")

    assert states == ["RUNNING"] * 2


def test_a_component_without_role_and_hooks_is_refused_unless_another_one_refers_to_it() -> None:
    with pytest.raises(ComponentUnused, match="unused component 'plain': Plain has no operator's role"):
        server_parts(spec("plain", Plain)).refuse_rest()

    parts = server_parts(spec("scheduler", Picky, helper={"ref": "plain"}), spec("plain", Plain))
    parts.take(Scheduler, "FifoScheduler")
    parts.refuse_rest()


def test_where_no_hooks_are_called_an_observer_is_refused() -> None:
    parts = KitParts([spec("ledger", Ledger)], "kit.json")

    with pytest.raises(ComponentUnused, match="'ledger': Ledger has no operator's role, and its hooks are never called here: job_state"):
        parts.refuse_rest()


def test_a_mistake_is_named() -> None:
    with pytest.raises(UnknownName, match="FifoSchedular"):
        KitParts([{"id": "scheduler", "name": "FifoSchedular"}], "kit.json")
