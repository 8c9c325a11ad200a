"""How does a site train? A learner: it is given the global model, trains on the site's pictures, gives its weights back."""

from __future__ import annotations

import copy

import torch
from digits import Digits, digits_of
from simple_network import SimpleNetwork
from torch.nn.functional import cross_entropy

from sundog import Context, Kind, Learner, Shareable, Task
from sundog.components.torch_tensors import to_arrays, to_state_dict
from sundog.components.trackers.analytics import AnalyticsSender


class PTLearner(Learner):
    """Trains SimpleNetwork with plain SGD.

    Args:
        lr: learning rate.
        epochs: passes over the site's pictures in a round.
        sites: among how many sites the pictures are shared out.
        batch_size: pictures a step.
        analytic_sender: where losses and accuracies go, and from there to TensorBoard.
    """

    def __init__(
        self, lr: float = 0.05, epochs: int = 2, sites: int = 2, *, batch_size: int = 32, analytic_sender: AnalyticsSender | None = None
    ) -> None:
        self.lr = lr
        self.epochs = epochs
        self.sites = sites
        self.batch_size = batch_size
        self.sender = analytic_sender or AnalyticsSender()
        self.network = SimpleNetwork()

    def initialize(self, ctx: Context) -> None:
        self.training, self.validation = digits_of(ctx.site, self.sites)

    def train(self, task: Task, ctx: Context) -> Shareable:
        self.network.load_state_dict(to_state_dict(task.model.tensors))
        optimizer = torch.optim.SGD(self.network.parameters(), lr=self.lr, momentum=0.9)
        for epoch in range(self.epochs):
            loss = self._train_one_epoch(optimizer, ctx)
            self.sender.add_scalar("train_loss", loss, task.step * self.epochs + epoch)
        accuracy = self._accuracy(self.validation)
        self.sender.add_scalar("validation_accuracy", accuracy, task.step)
        self._keep_if_best(accuracy, ctx)
        meta = {"num_examples": len(self.training), "metrics": {"train_loss": loss}}
        return Shareable(Kind.WEIGHTS, to_arrays(self.network.state_dict()), meta)

    def get_model_for_validation(self, name: str, ctx: Context) -> Shareable | None:
        return ctx.state

    def validate(self, task: Task, ctx: Context) -> Shareable:
        self.network.load_state_dict(to_state_dict(task.model.tensors))
        metrics = {"accuracy": self._accuracy(self.validation)}
        return Shareable(Kind.METRICS, meta={"metrics": metrics, "num_examples": len(self.validation)})

    def _train_one_epoch(self, optimizer: torch.optim.Optimizer, ctx: Context) -> float:
        """Mean loss of the pass."""
        self.network.train()
        total = 0.0
        for batch in torch.randperm(len(self.training)).split(self.batch_size):
            ctx.abort.check()
            optimizer.zero_grad()
            loss = cross_entropy(self.network(self.training.pixels[batch]), self.training.classes[batch])
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        return total / len(self.training)

    @torch.no_grad()
    def _accuracy(self, digits: Digits) -> float:
        self.network.eval()
        return (self.network(digits.pixels).argmax(dim=1) == digits.classes).float().mean().item()

    def _keep_if_best(self, accuracy: float, ctx: Context) -> None:
        """The site's best model so far is its state: it is there for the cross-site evaluation, even after a restart."""
        if ctx.state is None or accuracy >= ctx.state.metrics["accuracy"]:
            weights = to_arrays(copy.deepcopy(self.network.state_dict()))  # training goes on in the original's memory
            ctx.state = Shareable(Kind.WEIGHTS, weights, {"metrics": {"accuracy": accuracy}})
