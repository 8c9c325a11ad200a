"""Tensors pass from torch to numpy and back, bit for bit, without copies where that is possible."""

from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
import torch

from sundog import Kind, Shareable
from sundog.components.torch_tensors import NotATensor, TorchMissing, to_arrays, to_state_dict

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(), (0,), (3, 4)], ids=["0-d", "empty", "matrix"])
def test_a_tensor_survives_the_way_through_a_blob(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    tensor = (torch.arange(max(1, int(np.prod(shape)))).float()[: int(np.prod(shape))] - 3).reshape(shape).to(dtype)

    sent = Shareable(Kind.WEIGHTS, to_arrays({"w": tensor}))
    got = to_state_dict(Shareable.of_blob(sent.kind, sent.blob()).tensors)["w"]

    assert (got.dtype, got.shape) == (tensor.dtype, tensor.shape)
    assert bytes(got.flatten().untyped_storage()) == bytes(tensor.flatten().untyped_storage())


def test_memory_is_shared_both_ways() -> None:
    tensor = torch.zeros(2, dtype=torch.bfloat16)

    array = to_arrays({"w": tensor})["w"]
    back = to_state_dict({"w": array})["w"]
    tensor[0] = 1.5

    assert float(array[0]) == 1.5
    assert back[0] == 1.5


def test_a_read_only_array_is_copied_without_a_warning() -> None:
    array = np.ones(2, np.float32)
    array.flags.writeable = False

    to_state_dict({"w": array})["w"][0] = 7

    assert array[0] == 1


def test_a_parameter_needs_no_detaching_and_a_transposed_one_no_copying() -> None:
    parameter = torch.nn.Parameter(torch.arange(6.0).reshape(2, 3)).T

    assert to_arrays({"w": parameter})["w"].tolist() == [[0, 3], [1, 4], [2, 5]]


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (torch.zeros(2, dtype=torch.complex64), "got torch.complex64"),
        ({"a": 1}, "got dict"),
        (torch.zeros(2, 2).to_sparse(), "torch.sparse_coo tensor of float32 has no array"),
    ],
    ids=["complex", "extra state", "sparse"],
)
def test_what_has_no_array_is_named(value: Any, words: str) -> None:
    with pytest.raises(NotATensor, match=words) as caught:
        to_arrays({"layer.w": value})

    assert caught.value.where == "state_dict['layer.w']"


def test_without_torch_the_cure_is_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = builtins.__import__

    def without(name: str, *arguments: Any, **more: Any) -> Any:
        if name == "torch":
            raise ModuleNotFoundError("No module named 'torch'", name="torch")
        return whole(name, *arguments, **more)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(TorchMissing) as caught:
        to_state_dict({})
    assert caught.value.cure == 'pip install "sundog[torch]"'
