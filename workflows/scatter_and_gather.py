"""Federated averaging: send the model to all sites, aggregate what they make of it, repeat.

McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017; which
algorithm it is in detail, the aggregator and the update decide.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

import msgspec

from ..kernel.roles import Aggregator, ModelUpdate, Persistor, Policy, Run, Workflow
from ..kernel.tasks import Task
from .policy import PolicyMalformed, SitesPolicy

NotNegative = Annotated[float, msgspec.Meta(ge=0)]


class ScatterAndGather(Workflow):
    """Trains a global model in rounds; saves it through the persistor at the end.

    Args:
        aggregator: makes one Shareable of the sites' results.
        persistor: gives the initial model, takes the final one.
        update: makes the next global model of the present one and the aggregate (FLARE: shareable generator).
        num_rounds: how many rounds.
        start_round: the number of the first one.
        policy: who must answer in a round; default: all.
        min_clients: the same as a number (FLARE); takes the place of `policy`.
        wait_time_after_min_received: seconds that the other sites are waited for (FLARE); goes with `min_clients`.
        train_task_name: the task the sites are sent.
        train_timeout: seconds a site may work on it; 0: as long as it takes.
        ignore_result_error: a site that fails at its task is done without, whatever `min_clients` says (FLARE); goes with it.
    """

    def __init__(  # noqa: PLR0913  # FLARE's own arguments stand beside ours
        self,
        aggregator: Aggregator,
        persistor: Persistor,
        update: ModelUpdate,
        *,
        num_rounds: Annotated[int, msgspec.Meta(ge=0)] = 5,
        start_round: Annotated[int, msgspec.Meta(ge=0)] = 0,
        policy: Policy | None = None,
        min_clients: Annotated[int, msgspec.Meta(ge=1)] | None = None,
        wait_time_after_min_received: NotNegative | None = None,
        train_task_name: str = "train",
        train_timeout: NotNegative = 0.0,
        ignore_result_error: bool = False,
    ) -> None:
        self.aggregator = aggregator
        self.persistor = persistor
        self.update = update
        self.num_rounds = num_rounds
        self.start_round = start_round
        self.policy = policy or _flare_policy(min_clients, wait_time_after_min_received, ignore_errors=ignore_result_error)
        self.train_task_name = train_task_name
        self.train_timeout = train_timeout
        if policy is not None and min_clients is not None:
            raise PolicyMalformed("wanted either policy or min_clients, got both")

    def tasks(self) -> Iterable[str]:
        return (self.train_task_name,)

    def run(self, run: Run) -> None:
        model = run.state or self.persistor.load()
        for _ in run.steps(self.num_rounds, self.start_round):
            task = Task(self.train_task_name, model, {"num_rounds": self.num_rounds}, deadline_seconds=self.train_timeout or None)
            results = run.scatter(task, policy=self.policy, check=self.aggregator.check)
            model = self.update.apply(model, self.aggregator.aggregate(results))
            run.commit(model)
        self.persistor.save(model)


def _flare_policy(min_clients: int | None, wait_seconds: float | None, *, ignore_errors: bool) -> Policy:
    return SitesPolicy(
        "all" if min_clients is None else min_clients,
        grace_seconds=SitesPolicy.grace_seconds if wait_seconds is None else wait_seconds,
        on_missing="continue" if ignore_errors else "fail",
    )
