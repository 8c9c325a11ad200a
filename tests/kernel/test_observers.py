"""Who is told what happens in a run?"""

from __future__ import annotations

import timeit
from dataclasses import dataclass, field

import pytest

from sundog.kernel.context import RunAborted
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

    observers.notify("run_ended", status="COMPLETED", ctx=None)

    assert (first.heard, second.heard) == (["COMPLETED"], ["COMPLETED"])


def test_an_observer_that_raises_is_named_and_the_others_are_told() -> None:
    """T149: a throwing observer is named in the report, the others run, the job goes on."""
    observers, written = Observers(), list[str]()
    observers.register(Writer("one", written), "one")
    observers.register(Broken(), "broken")
    observers.register(Writer("two", written), "two")

    observers.notify("step_started", workflow="sag", step=0)
    observers.notify("step_started", workflow="sag", step=1)

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

    observers.notify("step_started", workflow="w", step=0)

    assert written == ["first", "b w 0", "a w 0", "last"]


def test_an_abort_passes_through() -> None:
    class Aborting:
        @observe
        def step_started(self) -> None:
            raise RunAborted("enough")

    observers = Observers()
    observers.register(Aborting(), "x")

    with pytest.raises(RunAborted):
        observers.notify("step_started", workflow="w", step=0)


def test_a_wrong_argument_is_refused_at_registration() -> None:
    class Wrong:
        @observe
        def step_started(self, round_number: int) -> None: ...

    with pytest.raises(HookSignature, match=r"tb: step_started: step_started has no argument 'round_number'"):
        Observers().register(Wrong(), "tb")


def test_an_unknown_hook_is_refused_at_registration_and_at_a_call() -> None:
    class Wrong:
        @observe
        def round_started(self) -> None: ...

    with pytest.raises(UnknownHook, match=r"tb: round_started: there is no hook round_started"):
        Observers().register(Wrong(), "tb")
    with pytest.raises(UnknownHook, match=r"did you mean 'step_started'"):
        Observers().notify("step_startet")


def test_another_method_may_carry_the_hook() -> None:
    class Named:
        def __init__(self) -> None:
            self.steps: list[int] = []

        @observe(specname="step_ended")
        def write(self, step: int) -> None:
            self.steps.append(step)

    observers, named = Observers(), Named()
    observers.register(named, "n")
    observers.notify("step_ended", workflow="w", step=4)

    assert named.steps == [4]


def test_properties_are_not_run_by_registration() -> None:
    class Touchy:
        @property
        def model(self) -> object:
            raise RuntimeError("not loaded yet")

    assert Observers().register(Touchy(), "t") is False


def test_nobody_listening_costs_under_a_microsecond() -> None:
    observers = Observers()

    seconds = min(timeit.repeat(lambda: observers.notify("step_started", workflow="w", step=1), number=10_000, repeat=5)) / 10_000

    assert seconds < 3e-6  # under 1 µs on an idle machine; three times that on a shared one
