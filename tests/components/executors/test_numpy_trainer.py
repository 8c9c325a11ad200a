from __future__ import annotations

import numpy as np
import pytest

from sundog.components.executors.numpy_trainer import NothingTrained, NPTrainer, NPValidator, TaskNotForNumpy
from sundog.kernel.context import Context
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Task

MODEL = Shareable(Kind.WEIGHTS, {"numpy_key": np.array([[1, 2], [3, 4]], np.float32)})


def test_training_adds_delta_and_keeps_the_dtype() -> None:
    got = NPTrainer(0.5).execute(Task("train", MODEL), Context())

    assert got == Shareable(Kind.WEIGHTS, {"numpy_key": np.array([[1.5, 2.5], [3.5, 4.5]], np.float32)}, {"num_examples": 1})


def test_the_submitted_model_is_that_of_the_last_training() -> None:
    trainer, ctx = NPTrainer(), Context()
    trained = trainer.execute(Task("train", MODEL), ctx)

    restarted = Context().for_call(task="submit_model", seed=0, state=ctx.state)
    assert NPTrainer().execute(Task("submit_model"), restarted) == trained


def test_a_model_cannot_be_submitted_before_training() -> None:
    with pytest.raises(NothingTrained, match="SD-3062"):
        NPTrainer().execute(Task("submit_model"), Context())


def test_evaluation_takes_the_mean() -> None:
    got = NPValidator().execute(Task("validate", MODEL), Context())

    assert got == Shareable(Kind.METRICS, meta={"metrics": {"mean": 2.5}, "num_examples": 1})


@pytest.mark.parametrize(
    ("executor", "task", "words"),
    [
        (NPTrainer(), Task("dance", MODEL), "wanted train or submit_model, got 'dance'"),
        (NPValidator(), Task("train", MODEL), "wanted validate, got 'train'"),
        (NPTrainer(), Task("train"), "task 'train': wanted a model with tensors"),
    ],
)
def test_other_tasks_are_refused(executor: NPTrainer | NPValidator, task: Task, words: str) -> None:
    with pytest.raises(TaskNotForNumpy, match=words):
        executor.execute(task, Context())
