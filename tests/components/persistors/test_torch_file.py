"""A torch model becomes a Shareable and a file, and comes back equal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from sundog import Context, Kind, Shareable
from sundog.components.locators.torch_file import NoSuchModel, PTFileModelLocator
from sundog.components.naming import BadPattern
from sundog.components.persistors.torch_file import ModelFileUnreadable, NotAModule, PTFileModelPersistor
from sundog.components.torch_tensors import to_arrays, to_state_dict
from sundog.kernel.context import entered


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))


@pytest.fixture(autouse=True)
def run_folder(tmp_path: Path) -> Iterator[Path]:
    with entered(Context(folder=tmp_path)):
        yield tmp_path


def test_a_model_comes_back_from_its_file_equal(run_folder: Path) -> None:
    """T130 (torch): what was saved is read back by torch itself, and by the locator."""
    persistor = PTFileModelPersistor(network())
    model = persistor.load()
    better = model.replace(tensors={name: model.tensors[name] + 1 for name in model.tensors})

    last, best = persistor.save(model), persistor.save(better, "best")

    assert (last, best) == (run_folder / "models/FL_global_model.pt", run_folder / "models/best_FL_global_model.pt")
    assert list(torch.load(last, weights_only=True)) == list(network().state_dict())
    network().load_state_dict(torch.load(last, weights_only=True))
    assert persistor.read() == model
    assert persistor.read("best") == better
    assert [path.name for path in run_folder.glob("models/.*")] == []


def test_a_0_d_tensor_and_its_dtype_survive() -> None:
    persistor = PTFileModelPersistor(network())

    persistor.save(persistor.load())

    assert persistor.read().tensors["1.num_batches_tracked"].shape == ()
    assert persistor.read().tensors["1.num_batches_tracked"].dtype == "int64"


def test_half_precision_stays_what_it_is() -> None:
    persistor = PTFileModelPersistor(network().to(torch.bfloat16))

    path = persistor.save(persistor.load())

    assert torch.load(path, weights_only=True)["0.weight"].dtype is torch.bfloat16


def test_a_pattern_that_is_none_is_told_before_the_run() -> None:
    with pytest.raises(BadPattern):
        PTFileModelPersistor(network(), "*.bias")


@pytest.mark.parametrize("exclude", ["^1[.]", ["1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"]])
def test_excluded_variables_stay_on_the_server_and_are_in_its_file(exclude: str | list[str]) -> None:
    persistor = PTFileModelPersistor(network(), exclude)
    model = persistor.load()

    path = persistor.save(model)

    assert list(model.tensors) == ["0.bias", "0.weight"]
    assert len(torch.load(path, weights_only=True)) == 7


def test_a_source_file_gives_the_initial_model(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "start.pt")

    persistor = PTFileModelPersistor(network(), source_ckpt_file_full_name=str(tmp_path / "start.pt"))

    assert persistor.load() == Shareable(Kind.WEIGHTS, to_arrays({"w": torch.ones(2)}))


def test_a_pickled_object_is_not_loaded(tmp_path: Path) -> None:
    torch.save(network(), tmp_path / "whole.pt")

    with pytest.raises(ModelFileUnreadable, match=r"whole.pt: wanted a state_dict, got UnpicklingError"):
        PTFileModelPersistor(network(), source_ckpt_file_full_name=str(tmp_path / "whole.pt")).load()


def test_what_is_no_model_is_refused() -> None:
    with pytest.raises(NotAModule, match=r"wanted a torch.nn.Module, got dict"):
        PTFileModelPersistor({"w": 1})


def test_the_locator_finds_what_was_saved() -> None:
    persistor = PTFileModelPersistor(network())
    locator = PTFileModelLocator(persistor)
    assert locator.names() == []

    persistor.save(persistor.load())
    assert locator.names() == ["server"]
    persistor.save(persistor.load(), "best")

    assert locator.names() == ["server", "server_best"]
    network().load_state_dict(to_state_dict(locator.locate("server_best").tensors))
    with pytest.raises(NoSuchModel, match="did you mean 'server_best'"):
        locator.locate("server_bets")
