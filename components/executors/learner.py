"""How does a trainer in the form of FLARE's Learner take part? An executor calls it in a fixed order, task by task."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ...kernel.context import Context, RunAborted
from ...kernel.errors import ComponentError
from ...kernel.roles import Executor
from ...kernel.shareable import Shareable, given
from ...kernel.tasks import Task


class TaskNotForLearner(ComponentError):
    """A learner's executor was given a task under a name it does not know.

    Cause: the executor is listed for this task in config_fed_client.json, but none of its three task names is this one.

    Cure: set its train_task, submit_model_task or validate_task to the name the workflow uses.
    """

    code = "SD-3111"


class LearnerLacksPart(ComponentError):
    """A learner was asked for something that it does not do.

    Cause: a workflow sends submit_model or validate tasks, and the learner does not override the method in the message.

    Cure: write the method, or take the workflow (cross-site evaluation) out of the job.
    """

    code = "SD-3112"


class Learner(ABC):
    """A site's trainer. Called on one thread, one call at a time; between batches, say `ctx.abort.check()`."""

    def initialize(self, ctx: Context) -> None:  # noqa: B027  # some have nothing to prepare
        """Prepare: read data, build the network. Called once, before the first task."""

    @abstractmethod
    def train(self, task: Task, ctx: Context) -> Shareable:
        """Train from `task.model`; gives WEIGHTS or a WEIGHT_DIFF with meta "num_examples" and, if you like, "metrics"."""

    def get_model_for_validation(self, name: str, ctx: Context) -> Shareable | None:
        """This site's model for a cross-site evaluation, as WEIGHTS; None: it gives none. `name` is e.g. "best_model"."""
        return None

    def validate(self, task: Task, ctx: Context) -> Shareable | None:
        """Evaluate `task.model` on this site's data; gives METRICS with meta "metrics" and "num_examples"; None: it cannot."""
        return None

    def abort(self, ctx: Context) -> None:  # noqa: B027
        """Drop what is half done: the call in hand has just ended because of `ctx.abort`."""

    def finalize(self, ctx: Context) -> None:  # noqa: B027
        """Tidy up. Called once, after the last task."""


class LearnerExecutor(Executor):
    """Does the three tasks of a learner. Each model that comes for training is validated first, so that the server sees
    how good the global model is at each site: meta "initial_metrics", and part of "metrics".

    Args:
        learner: the trainer.
        train_task: the name under which the workflow sends training.
        submit_model_task: the name under which it asks for the site's own model.
        validate_task: the name under which it sends models to evaluate.
    """  # noqa: D205  # one thought

    def __init__(
        self, learner: Learner, train_task: str = "train", submit_model_task: str = "submit_model", validate_task: str = "validate"
    ) -> None:
        self.learner = learner
        self._does = {train_task: self._train, submit_model_task: self._submit_model, validate_task: self._validate}

    def start(self, ctx: Context) -> None:
        self.learner.initialize(ctx)

    def execute(self, task: Task, ctx: Context) -> Shareable:
        """Do one task.

        Raises:
            RunAborted: `ctx.abort` was set; the learner was told.
            TaskNotForLearner: none of the three names.
            LearnerLacksPart: the learner does not do this.
        """
        does = self._does.get(task.name)
        if does is None:
            raise TaskNotForLearner(f"wanted one of {', '.join(self._does)}, got {task.name!r}")
        try:
            ctx.abort.check()
            result = does(task, ctx)
            ctx.abort.check()
        except RunAborted:
            self.learner.abort(ctx)
            raise
        return result

    def stop(self, ctx: Context) -> None:
        self.learner.finalize(ctx)

    def _train(self, task: Task, ctx: Context) -> Shareable:
        before = self.learner.validate(task, ctx)
        before = before if before is None else given(before, self.learner, "validate")
        ctx.abort.check()
        result = given(self.learner.train(task, ctx), self.learner, "train")
        if before is None:
            return result
        metrics = {**before.metrics, **result.metrics}
        return result.replace(meta={**result.meta, "initial_metrics": before.metrics, "metrics": metrics})

    def _submit_model(self, task: Task, ctx: Context) -> Shareable:
        model = self.learner.get_model_for_validation(str(task.shared.get("model_name", "best_model")), ctx)
        return self._given(model, "get_model_for_validation")

    def _validate(self, task: Task, ctx: Context) -> Shareable:
        return self._given(self.learner.validate(task, ctx), "validate")

    def _given(self, answer: Shareable | None, method: str) -> Shareable:
        if answer is None:
            raise LearnerLacksPart(f"{type(self.learner).__name__}.{method} gives nothing", where="learner")
        return given(answer, self.learner, method)
