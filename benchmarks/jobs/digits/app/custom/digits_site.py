"""A site of the job: it trains as the plain loop does, on its own pictures."""

from __future__ import annotations

from training import Network, pictures, seed_of, train

from sundog import Context, Executor, Kind, Shareable, Task
from sundog.components.torch_tensors import to_arrays, to_state_dict


class DigitsSite(Executor):
    """site-1 has the first part of the pictures, site-2 the second, …"""

    def start(self, ctx: Context) -> None:
        self.number = int(ctx.site.removeprefix("site-")) - 1
        self.pictures = pictures()[0][self.number]
        self.network = Network()

    def execute(self, task: Task, ctx: Context) -> Shareable:
        self.network.load_state_dict(to_state_dict(task.model.tensors))
        train(self.network, self.pictures, seed_of(self.number, task.step))
        return Shareable(Kind.WEIGHTS, to_arrays(self.network.state_dict()), {"num_examples": len(self.pictures[1])})
