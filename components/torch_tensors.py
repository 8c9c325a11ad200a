"""How does a torch state_dict become arrays, and arrays a state_dict? By sharing memory wherever that is possible."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ..kernel.errors import ComponentError

if TYPE_CHECKING:
    import torch

_CARRIERS = {"bfloat16": "int16", "float8_e4m3fn": "uint8", "float8_e5m2": "uint8"}
"""Dtypes that numpy itself lacks → the one of equal size as which their bits pass from library to library."""


class TorchMissing(ComponentError):
    """A component needs torch, and torch is not installed here.

    Cause: Sundog's own requirements leave torch out, so that servers without torch jobs stay small.

    Cure: pip install "sundog[torch]"
    """

    code = "SD-3101"


class NotATensor(ComponentError):
    """An entry of a state_dict cannot travel.

    Cause: it is no tensor (get_extra_state of some layer), or a sparse, quantised or complex one.

    Cure: leave it out: name it in the persistor's exclude_vars, and in the trainer send only what remains.
    """

    code = "SD-3102"


def need_torch() -> ModuleType:
    """The library, imported now if nobody has.

    Raises:
        TorchMissing: it is not installed.
    """
    try:
        import torch
    except ModuleNotFoundError as error:
        raise TorchMissing(f"wanted the library torch, got: {error}") from error
    return torch


def to_arrays(state: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """The arrays of a state_dict, by name. Those of CPU tensors share their memory: pack them before training goes on.

    Raises:
        NotATensor: an entry that has no array; the error names it.
        TorchMissing: torch is not installed.
    """
    need_torch()
    return {name: _array(name, value) for name, value in state.items()}


def to_state_dict(tensors: Mapping[str, npt.NDArray[Any]]) -> dict[str, torch.Tensor]:
    """A state_dict for `load_state_dict`; shares the memory of writable arrays.

    Raises:
        TorchMissing: torch is not installed.
    """
    torch = need_torch()
    return {name: _tensor(torch, array) for name, array in tensors.items()}


def _array(name: str, value: Any) -> npt.NDArray[Any]:
    import torch

    if isinstance(value, np.ndarray):
        return value
    if not isinstance(value, torch.Tensor) or value.is_complex():
        kind = str(value.dtype) if isinstance(value, torch.Tensor) else type(value).__name__
        raise NotATensor(f"wanted a tensor of real numbers, got {kind}", where=f"state_dict[{name!r}]")
    dtype = str(value.dtype).removeprefix("torch.")
    try:
        local = value.detach().cpu()
        return _as(local.view(getattr(torch, _CARRIERS[dtype])).numpy(), dtype) if dtype in _CARRIERS else local.numpy()
    except (TypeError, RuntimeError) as error:
        raise NotATensor(f"{value.layout} tensor of {dtype} has no array: {error}", where=f"state_dict[{name!r}]") from error


def _as(array: npt.NDArray[Any], dtype: str) -> npt.NDArray[Any]:
    import ml_dtypes

    return array.view(np.dtype(getattr(ml_dtypes, dtype)))


def _tensor(torch: ModuleType, array: npt.NDArray[Any]) -> torch.Tensor:
    dtype = array.dtype.name
    if not array.flags.writeable:
        array = array.copy()  # torch has no read-only tensors
    if dtype in _CARRIERS:
        return torch.from_numpy(array.view(_CARRIERS[dtype])).view(getattr(torch, dtype))  # type: ignore[no-any-return]
    return torch.from_numpy(array)  # type: ignore[no-any-return]
