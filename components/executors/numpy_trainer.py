"""What do sites do in examples and tests without a framework? They add a number to every tensor, and take means."""

from __future__ import annotations

import numpy as np

from ...kernel.context import Context
from ...kernel.errors import ComponentError
from ...kernel.roles import Executor
from ...kernel.shareable import Kind, Shareable
from ...kernel.tasks import Task
from ...kernel.tensors import Array


class TaskNotForNumpy(ComponentError):
    """A numpy executor was given a task that it cannot do.

    Cause: the executor is listed for a task that it does not know, or a task that needs a model came without one.

    Cure: compare the executor's task names with the workflow's.
    """

    code = "SD-3061"


class NothingTrained(ComponentError):
    """A site was asked for its model before it trained one.

    Cause: a cross-site evaluation ran before any training, or this site took part in none.

    Cure: put the training workflow in front of the evaluation.
    """

    code = "SD-3062"


class NPTrainer(Executor):
    """Training is adding `delta` to every item; the model of its last training is what the site submits.

    Args:
        delta: what is added.
        train_task_name: the name under which the workflow sends training.
        submit_model_task_name: the name under which it asks for the site's own model.
    """

    def __init__(self, delta: float = 1, *, train_task_name: str = "train", submit_model_task_name: str = "submit_model") -> None:
        self.delta = delta
        self.train_task_name = train_task_name
        self.submit_model_task_name = submit_model_task_name

    def execute(self, task: Task, ctx: Context) -> Shareable:
        """Train, or submit.

        Raises:
            TaskNotForNumpy: neither of the two tasks, or no model.
            NothingTrained: there is nothing to submit.
        """
        if task.name == self.train_task_name:
            return self._train(task, ctx)
        if task.name != self.submit_model_task_name:
            raise TaskNotForNumpy(f"wanted {self.train_task_name} or {self.submit_model_task_name}, got {task.name!r}")
        if ctx.state is None:
            raise NothingTrained("there is no trained model yet")
        return ctx.state

    def _train(self, task: Task, ctx: Context) -> Shareable:
        arrays = _arrays(task)
        trained = {name: np.add(array, self.delta).astype(array.dtype) for name, array in arrays.items()}
        ctx.state = Shareable(Kind.WEIGHTS, trained, {"num_examples": 1})
        return ctx.state


class NPValidator(Executor):
    """Evaluation is taking the mean of all items; it stands for an accuracy.

    Args:
        validate_task_name: the name under which the workflow sends models to evaluate.
    """

    def __init__(self, validate_task_name: str = "validate") -> None:
        self.validate_task_name = validate_task_name

    def execute(self, task: Task, ctx: Context) -> Shareable:
        """Evaluate.

        Raises:
            TaskNotForNumpy: another task, or no model.
        """
        if task.name != self.validate_task_name:
            raise TaskNotForNumpy(f"wanted {self.validate_task_name}, got {task.name!r}")
        items = np.concatenate([array.astype(np.float64).reshape(-1) for array in _arrays(task).values()])
        return Shareable(Kind.METRICS, meta={"metrics": {"mean": float(items.mean())}, "num_examples": 1})


def _arrays(task: Task) -> dict[str, Array]:
    if task.model is None or not task.model.tensors:
        raise TaskNotForNumpy("wanted a model with tensors, got none", where=f"task {task.name!r}")
    return dict(task.model.tensors)
