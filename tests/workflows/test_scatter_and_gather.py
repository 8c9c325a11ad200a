from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest

from sundog.components.aggregators.weighted_mean import WeightedMean
from sundog.components.executors.numpy_trainer import NPTrainer
from sundog.components.observers.best_model import IntimeModelSelector
from sundog.components.persistors.numpy_file import NPModelPersistor
from sundog.components.updates.full_model import FullModelUpdate
from sundog.kernel.context import Context
from sundog.kernel.shareable import Kind, NotAShareable, Shareable
from sundog.kernel.tasks import Result, Task
from sundog.kernel.tensors import Array
from sundog.workflows.policy import PolicyFailed, PolicyMalformed, SitesPolicy
from sundog.workflows.scatter_and_gather import ScatterAndGather

from .federation import Doing, Execute, Federation, Killed, Silent

START = np.arange(1, 10, dtype=np.float32).reshape(3, 3)


def fed_avg(num_rounds: int = 3, **arguments: object) -> ScatterAndGather:
    return ScatterAndGather(WeightedMean(), NPModelPersistor(), FullModelUpdate(), num_rounds=num_rounds, **arguments)  # type: ignore[arg-type]


def trainers(*deltas: float) -> dict[str, NPTrainer]:
    return {f"site-{number}": NPTrainer(delta) for number, delta in enumerate(deltas, 1)}


def final(folder: Path) -> Array:
    model: Array = np.load(folder / "models" / "server.npy", allow_pickle=False)
    return model


def test_three_sites_add_one_in_five_rounds(tmp_path: Path) -> None:
    """T115."""
    Federation(trainers(1, 1, 1), tmp_path).run(fed_avg(5))

    assert final(tmp_path).tolist() == (START + 5).tolist()


def test_the_model_is_the_weighted_mean_computed_by_hand(tmp_path: Path) -> None:
    """T124: weights 1 and 3."""

    def adding(amount: float, count: int) -> Execute:
        def execute(task: Task, ctx: Context) -> Shareable:
            assert task.model is not None
            return Shareable(Kind.WEIGHTS, {"numpy_key": task.model.tensors["numpy_key"] + np.float32(amount)}, {"num_examples": count})

        return execute

    Federation({"a": Doing(adding(0.1, 1)), "b": Doing(adding(0.2, 3))}, tmp_path).run(fed_avg(1))

    np.testing.assert_allclose(final(tmp_path), START + (0.1 * 1 + 0.2 * 3) / 4, atol=1e-6)


def test_the_order_in_which_sites_answer_does_not_change_a_bit(tmp_path: Path) -> None:
    hashes = set()
    for order in (["site-1", "site-2", "site-3"], ["site-3", "site-1", "site-2"]):
        federation = Federation(trainers(0.1, 0.7, 1e-3), tmp_path / order[0], order=order)
        federation.run(fed_avg(4))
        state = federation.closed[-1].state
        assert state is not None
        hashes.add(state.blob().sha256)

    assert len(hashes) == 1


def test_the_hooks_of_a_round_fire_in_order(tmp_path: Path) -> None:
    """T141."""
    federation = Federation(trainers(1, 1), tmp_path)

    federation.run(fed_avg(2))

    def one_round(number: int) -> list[str]:
        return [
            f"step_started {number}",
            *("before_task_sent site-1", "before_task_sent site-2", "after_task_sent site-1", "after_task_sent site-2"),
            *("result_received site-1", "result_accepted site-1", "result_received site-2", "result_accepted site-2"),
            *(f"before_aggregation {number}", f"after_aggregation {number}", f"model_updated {number}"),
            *(f"before_commit {number}", f"after_commit {number}", f"step_ended {number}"),
        ]

    saved = ["before_model_saved", "after_model_saved"]
    assert federation.lines == ["initial_model_loaded", *one_round(0), *one_round(1), *saved]


def test_after_a_restart_it_goes_on_behind_the_last_closed_round(tmp_path: Path) -> None:
    federation = Federation(trainers(1, 1), tmp_path, die_after=2)
    with pytest.raises(Killed):
        federation.run(fed_avg(4))

    federation.die_after = None
    federation.run(fed_avg(4))

    assert [result.step for result in federation.closed] == [0, 1, 2, 3]
    assert federation.lines.count("initial_model_loaded") == 1
    assert final(tmp_path).tolist() == (START + 4).tolist()


def test_flares_start_round_counts_from_there(tmp_path: Path) -> None:
    federation = Federation(trainers(1), tmp_path)

    federation.run(fed_avg(2, start_round=7))

    assert [result.step for result in federation.closed] == [7, 8]


def test_a_task_tells_deadline_and_number_of_rounds(tmp_path: Path) -> None:
    federation = Federation(trainers(1), tmp_path)

    federation.run(fed_avg(1, train_timeout=6000))

    assert federation.requests[0].task.deadline_seconds == 6000
    assert federation.requests[0].task.shared == {"num_rounds": 1}


def test_a_silent_site_is_done_without_after_the_grace_period(tmp_path: Path) -> None:
    federation = Federation({**trainers(1, 1), "site-3": Silent()}, tmp_path)

    federation.run(fed_avg(2, min_clients=2, wait_time_after_min_received=10))

    assert federation.clock == 20
    assert final(tmp_path).tolist() == (START + 2).tolist()


def test_nobody_is_waited_for_when_all_have_answered(tmp_path: Path) -> None:
    federation = Federation(trainers(1, 1), tmp_path)

    federation.run(fed_avg(2, min_clients=1, wait_time_after_min_received=10))

    assert federation.clock == 0


def failing(task: Task, ctx: Context) -> Shareable:
    raise ValueError("boom")


def test_a_trainer_that_raises_ends_the_run_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(PolicyFailed) as caught:
        Federation({**trainers(1), "site-2": Doing(failing)}, tmp_path).run(fed_avg(2))

    assert "site-2 failed" in caught.value.what
    assert "ValueError: boom" in caught.value.what
    assert "test_scatter_and_gather.py" in caught.value.failure().where


def test_flares_ignore_result_error_goes_on_without_it(tmp_path: Path) -> None:
    federation = Federation({**trainers(1), "site-2": Doing(failing)}, tmp_path)

    federation.run(fed_avg(1, min_clients=2, ignore_result_error=True))

    assert final(tmp_path).tolist() == (START + 1).tolist()


def test_a_result_with_nan_is_rejected_naming_site_and_tensor(tmp_path: Path) -> None:
    def nan(task: Task, ctx: Context) -> Shareable:
        return Shareable(Kind.WEIGHTS, {"numpy_key": np.full((3, 3), np.nan, np.float32)}, {"num_examples": 1})

    federation = Federation({**trainers(1), "site-2": Doing(nan)}, tmp_path)

    federation.run(fed_avg(1, policy=SitesPolicy(1)))

    assert federation.rejected == ["tensor numpy_key has numbers that are not finite (NaN or infinity)"]
    assert federation.lines.count("result_rejected site-2") == 1


def test_a_result_of_another_architecture_is_told_apart_from_the_global_model(tmp_path: Path) -> None:
    def other(task: Task, ctx: Context) -> Shareable:
        return Shareable(Kind.WEIGHTS, {"numpy_key": np.zeros(4, np.float32)}, {"num_examples": 1})

    aggregator = WeightedMean()
    workflow = ScatterAndGather(aggregator, NPModelPersistor(), FullModelUpdate(), num_rounds=1)

    with pytest.raises(PolicyFailed, match=r"site-1 .*global model: numpy_key has shape \(4,\), wanted \(3, 3\)"):
        Federation({"site-1": Doing(other)}, tmp_path, {"aggregator": aggregator}).run(workflow)


def test_policy_and_min_clients_together_are_refused() -> None:
    with pytest.raises(PolicyMalformed, match="either policy or min_clients"):
        fed_avg(1, policy=SitesPolicy(), min_clients=1)


def test_the_best_file_is_the_model_of_the_round_with_the_top_metric_also_across_a_restart(tmp_path: Path) -> None:
    """T131: the model sent in round 2 has the top metric."""
    scores = {0: 0.1, 1: 0.5, 2: 0.9, 3: 0.7}

    def scoring(task: Task, ctx: Context) -> Shareable:
        return NPTrainer().execute(task, ctx).replace(meta={"num_examples": 1, "metrics": {"accuracy": scores[ctx.step]}})

    selector = IntimeModelSelector()
    components = {"persistor": NPModelPersistor(), "selector": selector}
    federation = Federation({"a": Doing(scoring), "b": Doing(scoring)}, tmp_path, components, die_after=3)
    with pytest.raises(Killed):
        federation.run(fed_avg(4))
    state = selector.state()
    assert state is not None

    federation.die_after = None
    federation.components["selector"] = again = IntimeModelSelector()
    again.restore(state)
    federation.run(fed_avg(4))

    assert again.best == pytest.approx(0.9)
    assert np.load(tmp_path / "models" / "best_server.npy").tolist() == (START + 2).tolist()
    assert federation.closed[0].metrics.own == {"accuracy": pytest.approx(0.1)}


def test_an_aggregator_without_a_return_is_told_with_its_name(tmp_path: Path) -> None:
    class Forgetful(WeightedMean):
        def aggregate(self, results: Iterable[Result]) -> Shareable:  # type: ignore[return]
            super().aggregate(results)

    workflow = ScatterAndGather(Forgetful(), NPModelPersistor(), FullModelUpdate(), num_rounds=1)

    with pytest.raises(NotAShareable, match=r"Forgetful\.aggregate: wanted a Shareable, got None"):
        Federation(trainers(1.0), tmp_path).run(workflow)
