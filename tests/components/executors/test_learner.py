"""A learner is called in a fixed order, and left at once when the run is aborted."""

from __future__ import annotations

import threading
import time

import pytest

from sundog import Context, Kind, Learner, Shareable, Task
from sundog.components.executors.learner import LearnerExecutor, LearnerLacksPart, TaskNotForLearner
from sundog.kernel.context import RunAborted
from sundog.kernel.shareable import NotAShareable

MODEL = Shareable(Kind.WEIGHTS, {"w": [1.0]})


class Recording(Learner):
    def __init__(self) -> None:
        self.calls: list[str] = []

    def initialize(self, ctx: Context) -> None:
        self.calls.append("initialize")

    def train(self, task: Task, ctx: Context) -> Shareable:
        self.calls.append("train")
        return Shareable(Kind.WEIGHTS, {"w": [2.0]}, {"num_examples": 10, "metrics": {"loss": 0.5}})

    def get_model_for_validation(self, name: str, ctx: Context) -> Shareable | None:
        self.calls.append(f"get {name}")
        return MODEL

    def validate(self, task: Task, ctx: Context) -> Shareable | None:
        self.calls.append("validate")
        return Shareable(Kind.METRICS, meta={"metrics": {"accuracy": 0.25, "loss": 3.0}, "num_examples": 4})

    def abort(self, ctx: Context) -> None:
        self.calls.append("abort")

    def finalize(self, ctx: Context) -> None:
        self.calls.append("finalize")


class TrainingOnly(Learner):
    def train(self, task: Task, ctx: Context) -> Shareable:
        return MODEL


def test_the_order_of_calls() -> None:
    """T137: initialise, validate the incoming model, train, validate, finalise."""
    learner = Recording()
    executor, ctx = LearnerExecutor(learner), Context()

    executor.start(ctx)
    for name in ("train", "submit_model", "validate"):
        executor.execute(Task(name, MODEL), ctx)
    executor.stop(ctx)

    assert learner.calls == ["initialize", "validate", "train", "get best_model", "validate", "finalize"]


def test_the_incoming_models_metrics_go_with_the_result() -> None:
    """T137: initial metrics stand apart; in "metrics" the training's own win."""
    result = LearnerExecutor(Recording()).execute(Task("train", MODEL), Context())

    assert result.meta["initial_metrics"] == {"accuracy": 0.25, "loss": 3.0}
    assert result.metrics == {"accuracy": 0.25, "loss": 0.5}
    assert result.num_examples == 10


def test_a_learner_that_only_trains_is_fine_until_more_is_asked() -> None:
    executor = LearnerExecutor(TrainingOnly())

    assert executor.execute(Task("train", MODEL), Context()).meta == {}
    with pytest.raises(LearnerLacksPart, match=r"TrainingOnly\.validate gives nothing"):
        executor.execute(Task("validate", MODEL), Context())
    with pytest.raises(LearnerLacksPart, match=r"TrainingOnly\.get_model_for_validation"):
        executor.execute(Task("submit_model"), Context())


def test_task_names_are_the_jobs_own() -> None:
    executor = LearnerExecutor(Recording(), train_task="fit")

    executor.execute(Task("fit", MODEL), Context())
    with pytest.raises(TaskNotForLearner, match="wanted one of fit, submit_model, validate, got 'train'"):
        executor.execute(Task("train", MODEL), Context())


class Endless(Recording):
    def __init__(self) -> None:
        super().__init__()
        self.is_training = threading.Event()

    def train(self, task: Task, ctx: Context) -> Shareable:
        self.is_training.set()
        while True:
            ctx.abort.check()


def test_an_abort_is_honoured_within_a_second() -> None:
    """T137: the learner leaves training, is told so, and the task ends as aborted."""
    learner, ctx = Endless(), Context()
    told: list[float] = []

    def abort() -> None:
        learner.is_training.wait(10)
        told.append(time.monotonic())
        ctx.abort.set("by admin")

    thread = threading.Thread(target=abort)
    thread.start()
    with pytest.raises(RunAborted, match="by admin"):
        LearnerExecutor(learner).execute(Task("train", MODEL), ctx)
    thread.join()

    assert time.monotonic() - told[0] < 1
    assert learner.calls == ["validate", "abort"]


def test_a_learner_that_ignores_the_abort_gives_no_result() -> None:
    learner, ctx = Recording(), Context()
    ctx.abort.set("too late")

    with pytest.raises(RunAborted):
        LearnerExecutor(learner).execute(Task("train", MODEL), ctx)

    assert learner.calls == ["abort"]


def test_a_train_without_a_return_is_told_with_its_name() -> None:
    """Also when the metrics of `validate` would be added to what it gave."""

    class Forgetful(Recording):
        def train(self, task: Task, ctx: Context) -> Shareable:  # type: ignore[return]
            super().train(task, ctx)

    with pytest.raises(NotAShareable, match="wanted a Shareable, got None") as caught:
        LearnerExecutor(Forgetful()).execute(Task("train", MODEL), Context())
    assert caught.value.where.endswith("Forgetful.train")
