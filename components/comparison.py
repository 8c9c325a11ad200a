"""Do tensors look like others: the same names and shapes, and are all their numbers finite?"""

from __future__ import annotations

import numpy as np

from ..kernel.shareable import Tensors
from ..kernel.wording import did_you_mean
from .blockwise import Buffers, is_exact, spans

MAX_SHOWN = 8
"""So many differences are told; of a model of another architecture all differ."""


def differences(got: Tensors, want: Tensors, *, may_lack: bool = False, may_convert: bool = False) -> str:
    """What is different, for people; empty when nothing is. No tensor is read.

    Args:
        may_lack: tensors that `got` does not have are no difference.
        may_convert: nor are other dtypes.
    """
    missing = [name for name in want if name not in got and not may_lack]
    extra = [name for name in got if name not in want]
    found = [f"lacks {name}" for name in missing]
    found += [f"has {name}, which is unknown{did_you_mean(name, missing)}" for name in extra]
    for name in (name for name in got if name in want):
        if got.shape(name) != want.shape(name):
            found.append(f"{name} has shape {got.shape(name)}, wanted {want.shape(name)}")
        elif got.dtype(name) != want.dtype(name) and not may_convert:
            found.append(f"{name} is {got.dtype(name)}, wanted {want.dtype(name)}")
    more = f" and {len(found) - MAX_SHOWN} more differences" if len(found) > MAX_SHOWN else ""
    return ", ".join(found[:MAX_SHOWN]) + more


def first_not_finite(tensors: Tensors) -> str:
    """The name of the first tensor, in name order, with a NaN or an infinity in it; empty when there is none."""
    buffers = Buffers()
    for name in tensors:
        if is_exact(tensors.dtype(name)):
            continue
        for start, size in spans(tensors.shape(name)):
            if not np.isfinite(buffers.read(tensors, name, start, size)).all():
                return name
    return ""
