"""The observers of a run, and calls of their hooks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from sundog.kernel.context import Context, ObserverHooks, RunAborted, current_context
from sundog.kernel.errors import Failure
from sundog.kernel.hooks import HookSignature, UnknownHook
from sundog.kernel.hookspecs import observe
from sundog.kernel.observers import Observers


@dataclass
class Probe:
    """Equal to every other new one, as user's dataclasses are."""

    heard: list[str] = field(default_factory=list)

    @observe
    def run_ended(self, status: str) -> None:
        self.heard.append(status)


class Broken:
    @observe
    def step_started(self, step: int) -> None:
        raise ValueError(f"step {step}")


class Writer:
    def __init__(self, name: str, written: list[str]) -> None:
        self.name, self.written = name, written

    @observe
    def step_started(self, workflow: str, step: int) -> None:
        self.written.append(f"{self.name} {workflow} {step}")


def test_two_instances_of_one_class_are_both_told() -> None:
    """T045: FLARE told only the first instance of a class."""
    observers, first, second = Observers(), Probe(), Probe()
    observers.register(first, "tb-1")
    observers.register(second, "tb-2")

    observers.events.run_ended(status="COMPLETED", ctx=Context())

    assert (first.heard, second.heard) == (["COMPLETED"], ["COMPLETED"])


def test_an_observer_that_raises_is_named_and_the_others_are_told() -> None:
    """T149: a throwing observer is named in the report, the others run, the job goes on."""
    observers, written = Observers(), list[str]()
    observers.register(Writer("one", written), "one")
    observers.register(Broken(), "broken")
    observers.register(Writer("two", written), "two")

    observers.events.step_started(workflow="sag", step=0)
    observers.events.step_started(workflow="sag", step=1)

    (fault,) = observers.faults
    assert sorted(written) == ["one sag 0", "one sag 1", "two sag 0", "two sag 1"]
    assert (fault.component, fault.what) == ("broken", "step_started: ValueError: step 0 (2 times)")
    assert "test_observers.py" in fault.where


def test_the_order_is_pluggys() -> None:
    """T149: tryfirst and trylast are respected; otherwise the last registered comes first."""

    class First(Writer):
        @observe(tryfirst=True)
        def step_started(self, workflow: str, step: int) -> None:
            self.written.append(self.name)

    class Last(Writer):
        @observe(trylast=True)
        def step_started(self, workflow: str, step: int) -> None:
            self.written.append(self.name)

    observers, written = Observers(), list[str]()
    for kind, name in ((Last, "last"), (Writer, "a"), (First, "first"), (Writer, "b")):
        observers.register(kind(name, written), name)

    observers.events.step_started(workflow="w", step=0)

    assert written == ["first", "b w 0", "a w 0", "last"]


def test_an_abort_passes_through() -> None:
    class Aborting:
        @observe
        def step_started(self) -> None:
            raise RunAborted("enough")

    observers = Observers()
    observers.register(Aborting(), "x")

    with pytest.raises(RunAborted):
        observers.events.step_started(workflow="w", step=0)


def test_a_wrong_argument_is_refused_at_registration() -> None:
    class Wrong:
        @observe
        def step_started(self, round_number: int) -> None: ...

    with pytest.raises(HookSignature, match=r"tb: step_started: step_started has no argument 'round_number'"):
        Observers().register(Wrong(), "tb")


def test_an_unknown_hook_is_refused_at_registration() -> None:
    class Wrong:
        @observe
        def round_started(self) -> None: ...

    with pytest.raises(UnknownHook, match=r"tb: round_started: there is no hook round_started"):
        Observers().register(Wrong(), "tb")


def test_another_method_may_carry_the_hook() -> None:
    class Named:
        def __init__(self) -> None:
            self.steps: list[int] = []

        @observe(specname="step_ended")
        def write(self, step: int) -> None:
            self.steps.append(step)

    observers, named = Observers(), Named()
    observers.register(named, "n")
    observers.events.step_ended(workflow="w", step=4)

    assert named.steps == [4]


def test_properties_are_not_run_by_registration() -> None:
    class Touchy:
        @property
        def model(self) -> object:
            raise RuntimeError("not loaded yet")

    assert Observers().register(Touchy(), "t") == ()


# --- calls ---


@pytest.mark.parametrize("arguments", [{"workflow": "w"}, {"workflow": "w", "step": 1, "round": 1}, {"workflow": "w", "stpe": 1}])
@pytest.mark.parametrize("is_observed", [True, False])
def test_wrong_arguments_fail_at_the_caller_and_no_observer_is_called(arguments: dict[str, Any], *, is_observed: bool) -> None:
    observers, written = Observers(), list[str]()
    if is_observed:
        observers.register(Writer("one", written), "one")

    with pytest.raises(TypeError, match=r"step_started\(\)") as raised:
        observers.events.step_started(**arguments)

    assert "test_observers.py:" in Failure.of(raised.value).where
    assert (written, observers.faults) == ([], [])


def test_arguments_may_come_by_position() -> None:
    observers, written = Observers(), list[str]()
    observers.register(Writer("one", written), "one")

    observers.events.step_started("w", 3)

    assert written == ["one w 3"]


def test_a_call_of_an_unknown_hook_suggests_one() -> None:
    with pytest.raises(AttributeError, match=r"unknown hook 'step_startet'; did you mean 'step_started'"):
        Observers().events.step_startet()  # type: ignore[attr-defined]


def test_a_hook_without_observers_is_the_empty_method_of_the_specification() -> None:
    observers = Observers()
    observers.register(Probe(), "probe")

    assert set(vars(observers.events)) == {"run_ended"}


def test_outside_of_a_run_a_call_does_nothing_and_its_arguments_are_checked() -> None:
    assert type(current_context().events) is ObserverHooks

    current_context().events.step_ended(workflow="w", step=1)
    with pytest.raises(TypeError):
        current_context().events.step_ended(workflow="w")  # type: ignore[call-arg]
