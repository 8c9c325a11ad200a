"""What is the next global model? The aggregate itself, or the present model plus the aggregated difference."""

from __future__ import annotations

import numpy as np

from ...kernel.context import current_context
from ...kernel.errors import ComponentError
from ...kernel.roles import ModelUpdate
from ...kernel.shareable import Kind, Shareable, Tensors
from ...kernel.tensors import Array
from ..blockwise import Buffers, build, is_exact
from ..comparison import differences


class AggregateMismatch(ComponentError):
    """An aggregate cannot be applied to the model.

    Cause: the sites train another architecture than the persistor gave, or the aggregate is neither WEIGHTS nor WEIGHT_DIFF.

    Cure: give server and sites the same model; the message lists what differs.
    """

    code = "SD-3041"


class FullModelUpdate(ModelUpdate):
    """WEIGHTS replace the model's, WEIGHT_DIFF is added. Tensors that the aggregate lacks stay; dtypes stay the model's."""

    def apply(self, model: Shareable, aggregate: Shareable) -> Shareable:
        """The next model, with the present one's kind and meta.

        Raises:
            AggregateMismatch: another kind, unknown tensors or other shapes; the message lists them.
        """
        if aggregate.kind not in (Kind.WEIGHTS, Kind.WEIGHT_DIFF):
            raise AggregateMismatch(f"wanted WEIGHTS or WEIGHT_DIFF, got {aggregate.kind}")
        wrong = differences(aggregate.tensors, model.tensors, may_lack=True, may_convert=True)
        if wrong:
            raise AggregateMismatch(f"compared with the model, the aggregate {wrong}")
        if len(aggregate.tensors) < len(model.tensors):
            current_context().note(_missing([name for name in model.tensors if name not in aggregate.tensors]))
        if aggregate.kind is Kind.WEIGHT_DIFF:
            return model.replace(tensors=_joined(model.tensors, _added(model.tensors, aggregate.tensors)))
        return model.replace(tensors=_joined(model.tensors, _converted(model.tensors, aggregate.tensors)))


def _missing(names: list[str]) -> str:
    """One forgotten tensor spoils a model silently; that all sites leave some out may also be meant."""
    if len(names) == 1:
        return f"no site sends tensor {names[0]!r}: it stays as it was"
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""  # what fits in a line
    return f"no site sends tensors {', '.join(map(repr, names[:3]))}{more}: they stay as they were"


def _joined(model: Tensors, changed: Tensors) -> Tensors:
    """The model with the changed tensors in it. Nothing is copied when all of them are changed: the blob stays as it is."""
    return changed if len(changed) == len(model) else model.join(changed)


def _converted(model: Tensors, new: Tensors) -> Tensors:
    """The new tensors in the model's dtypes; only those of another dtype are read."""
    wrong = [name for name in new if new.dtype(name) != model.dtype(name)]
    if not wrong:
        return new
    buffers = Buffers()

    def fill(name: str, start: int, out: Array) -> None:
        out[:] = buffers.read(new, name, start, out.size).astype(out.dtype)

    return new.join(build({name: model.spec(name) for name in wrong}, fill, buffers))


def _added(model: Tensors, difference: Tensors) -> Tensors:
    """Sums in float64, of integers in their own dtype (they wrap around), of booleans as "or"."""
    buffers = Buffers()

    def fill(name: str, start: int, out: Array) -> None:
        model.read_block(name, start, out)
        change = buffers.read(difference, name, start, out.size)
        dtype = out.dtype if is_exact(out.dtype) else np.dtype(np.float64)
        np.add(out, change, out=out, dtype=dtype, casting="unsafe")

    return build({name: model.spec(name) for name in difference}, fill, buffers)
