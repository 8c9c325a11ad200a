from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sundog.components.observers.best_model import IntimeModelSelector, MetricUnclear, NoPersistor
from sundog.kernel.context import Context, RoleCalls, current_context, entered
from sundog.kernel.hookspecs import observe
from sundog.kernel.observers import Observers
from sundog.kernel.roles import Persistor
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Result, Task


class Kept(Persistor):
    def __init__(self) -> None:
        self.saved: list[tuple[float, str]] = []

    def load(self) -> Shareable:
        return model(0)

    def save(self, model: Shareable, name: str = "") -> Path | None:
        self.saved.append((float(model.tensors["w"][0]), name))
        return None


class Trace:
    def __init__(self) -> None:
        self.lines: list[str] = []

    @observe
    def best_model_found(self, metric: str, value: float, step: int) -> None:
        self.lines.append(f"found {metric} {value:g} in {step}")

    @observe
    def after_model_saved(self, name: str) -> None:
        self.lines.append(f"saved {name}")


@pytest.fixture
def persistor() -> Kept:
    return Kept()


@pytest.fixture
def trace() -> Trace:
    return Trace()


@pytest.fixture(autouse=True)
def _context(persistor: Kept, trace: Trace) -> Iterator[None]:
    observers = Observers()
    observers.register(trace, "trace")
    components = {"persistor": persistor, "other": object()}
    context = Context(workflow="w", components=components, events=observers.events, role_calls=RoleCalls(components.values()))
    with entered(context):
        yield


def model(number: float) -> Shareable:
    return Shareable(Kind.WEIGHTS, {"w": np.array([number], np.float32)})


def one_step(selector: IntimeModelSelector, step: int, **sites: dict[str, Any]) -> None:
    """A step whose model is called by its number; site → its result's meta."""
    selector.step_started()
    task = Task("train", model(step))
    for site in sites:
        selector.before_task_sent(task, site)
    for site, meta in sites.items():
        selector.result_accepted(Result(site, "train", Shareable(Kind.WEIGHTS, {"w": [0.0]}, meta)))
    selector.before_aggregation(step)


def report(value: float, count: float = 1, name: str = "accuracy") -> dict[str, Any]:
    return {"metrics": {name: value}, "num_examples": count}


def test_the_model_of_the_step_with_the_best_mean_is_saved(persistor: Kept, trace: Trace) -> None:
    """T131: means 0.5, 0.75, 0.6, weighted by examples."""
    selector = IntimeModelSelector()

    one_step(selector, 0, a=report(0.5), b=report(0.5))
    one_step(selector, 1, a=report(0, 1), b=report(1, 3))
    one_step(selector, 2, a=report(0.6), b=report(0.6))

    assert persistor.saved == [(0, "best"), (1, "best")]
    assert trace.lines == ["found accuracy 0.5 in 0", "saved best", "found accuracy 0.75 in 1", "saved best"]


def test_lower_is_better_for_a_loss(persistor: Kept) -> None:
    selector = IntimeModelSelector("loss", better="lower")

    for step, value in enumerate((3, 1, 2)):
        one_step(selector, step, a=report(value, name="loss"))

    assert persistor.saved == [(0, "best"), (1, "best")]


def test_it_goes_on_from_its_state(persistor: Kept) -> None:
    """T131: after a restart a worse model does not become the best."""
    before, after = IntimeModelSelector(), IntimeModelSelector()
    assert before.state() is None
    one_step(before, 0, a=report(0.9))
    state = before.state()
    assert state is not None

    after.restore(state)
    one_step(after, 1, a=report(0.8))

    assert persistor.saved == [(0, "best")]


def test_initial_metrics_speak_of_the_model_that_was_sent(persistor: Kept) -> None:
    selector = IntimeModelSelector()

    one_step(selector, 0, a=report(0.9) | {"initial_metrics": {"accuracy": 0.1}})

    assert selector.best == pytest.approx(0.1)


def test_a_site_can_count_more_or_not_at_all() -> None:
    selector = IntimeModelSelector(aggregation_weights={"a": 0}, weigh_by_examples=False)

    one_step(selector, 0, a=report(1), b=report(0.25, 9), c=report(0.75, 1))

    assert selector.best == pytest.approx(0.5)


def test_all_weigh_the_same_if_one_does_not_tell_its_examples() -> None:
    selector = IntimeModelSelector()

    one_step(selector, 0, a={"metrics": {"accuracy": 0}}, b=report(1, 100))

    assert selector.best == pytest.approx(0.5)


def test_a_nan_is_never_the_best(persistor: Kept) -> None:
    selector = IntimeModelSelector()

    one_step(selector, 0, a=report(math.nan))
    one_step(selector, 1, a=report(0.1))
    one_step(selector, 2, a=report(math.nan))

    assert persistor.saved == [(1, "best")]


def test_a_step_without_numbers_or_without_a_model_decides_nothing(persistor: Kept) -> None:
    selector = IntimeModelSelector()

    one_step(selector, 0, a={"num_examples": 1})
    selector.before_task_sent(Task("submit_model"), "a")
    selector.result_accepted(Result("a", "submit_model", Shareable(Kind.WEIGHTS, meta=report(1))))
    selector.before_aggregation(1)

    assert persistor.saved == []


@pytest.mark.parametrize(("name", "words"), [("", "wanted one metric, the sites report"), ("f1", "wanted f1, the sites report")])
def test_an_unclear_metric_is_refused_with_what_there_is(name: str, words: str) -> None:
    with pytest.raises(MetricUnclear, match=f"{words} accuracy, loss"):
        one_step(IntimeModelSelector(name), 0, a={"metrics": {"accuracy": 1, "loss": 2}})


def test_two_persistors_must_be_told_apart(persistor: Kept) -> None:
    with entered(Context(components={"one": Kept(), "two": Kept()})):
        with pytest.raises(NoPersistor, match="wanted one persistor, got one, two"):
            one_step(IntimeModelSelector(), 0, a=report(1))
        one_step(IntimeModelSelector(persistor=persistor), 0, a=report(1))

    assert persistor.saved == [(0, "best")]


def test_numbers_of_an_earlier_model_do_not_count(persistor: Kept) -> None:
    """A late result speaks of the model of its own step; a site that was sent two models in a step may speak of either."""
    selector, step = IntimeModelSelector(), current_context().step
    first, second = Task("train", model(0)), Task("train", model(1))
    selector.step_started()
    for site in ("a", "b", "c"):
        selector.before_task_sent(first if site == "c" else second, site)
    selector.before_task_sent(second, "c")
    for site, value, made_in in (("a", 0.5, step), ("b", 0.9, step - 1), ("c", 0.9, step)):
        selector.result_accepted(Result(site, "train", Shareable(Kind.WEIGHTS, {"w": [0.0]}, report(value)), step=made_in))
    selector.before_aggregation(1)

    assert (selector.best, persistor.saved) == (0.5, [(1, "best")])
