from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from sundog.kernel.context import Context
from sundog.kernel.roles import Run, Workflow
from sundog.kernel.shareable import Kind, Shareable
from sundog.kernel.tasks import Task
from sundog.workflows.policy import PolicyFailed
from sundog.workflows.verbs import broadcast, relay, send

from .federation import Doing, Federation, Silent


def doubling(task: Task, ctx: Context) -> Shareable:
    assert task.model is not None
    return Shareable(Kind.WEIGHTS, {"w": task.model.tensors["w"] * 2}, {"trace": [*task.model.meta.get("trace", []), ctx.site]})


MODEL = Shareable(Kind.WEIGHTS, {"w": np.ones(2)})


class Asking(Workflow):
    def __init__(self, ask: object) -> None:
        self.ask = ask

    def run(self, run: Run) -> None:
        for _ in run.steps(1):
            self.ask(run)  # type: ignore[operator]
            run.commit()


def test_a_broadcast_gives_results_in_name_order(tmp_path: Path) -> None:
    federation = Federation({name: Doing(doubling) for name in "cab"}, tmp_path, order="bca")
    got: list[str] = []

    federation.run(Asking(lambda run: got.extend(result.site for result in broadcast(run, Task("t", MODEL)))))

    assert got == ["a", "b", "c"]


def test_send_asks_one_site_only(tmp_path: Path) -> None:
    federation = Federation({"a": Doing(doubling), "b": Silent()}, tmp_path)
    got: list[str] = []

    federation.run(Asking(lambda run: got.append(send(run, Task("t", MODEL), "a").site)))

    assert got == ["a"]


def test_a_relay_carries_the_model_from_site_to_site_in_the_order_given(tmp_path: Path) -> None:
    federation = Federation({name: Doing(doubling) for name in "abc"}, tmp_path)
    last: list[Shareable] = []

    federation.run(Asking(lambda run: last.append(relay(run, Task("t", MODEL), ["b", "a", "c"]).shareable)))

    assert last[0].tensors["w"].tolist() == [8, 8]
    assert last[0].meta["trace"] == ["b", "a", "c"]


def test_a_relay_can_change_what_it_passes_on(tmp_path: Path) -> None:
    federation = Federation({name: Doing(doubling) for name in "ab"}, tmp_path)
    last: list[Shareable] = []

    federation.run(Asking(lambda run: last.append(relay(run, Task("t", MODEL), "ab", pass_on=lambda _: MODEL).shareable)))

    assert last[0].tensors["w"].tolist() == [2, 2]


def test_a_relay_to_nobody_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one site"):
        Federation({"a": Silent()}, tmp_path).run(Asking(lambda run: relay(run, Task("t", MODEL), [])))


def test_a_site_that_fails_at_a_relay_ends_it(tmp_path: Path) -> None:
    def fail(task: Task, ctx: Context) -> Shareable:
        raise RuntimeError("no more disk")

    with pytest.raises(PolicyFailed, match=r"b failed: .*no more disk"):
        Federation({"a": Doing(doubling), "b": Doing(fail)}, tmp_path).run(Asking(lambda run: relay(run, Task("t", MODEL), "ab")))
