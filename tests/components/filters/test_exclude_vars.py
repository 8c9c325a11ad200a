from __future__ import annotations

import numpy as np
import pytest

from sundog.components.filters.exclude_vars import ExcludeVars
from sundog.kernel.context import Context
from sundog.kernel.shareable import Kind, Shareable


@pytest.mark.parametrize(("exclude", "left"), [(None, ["a.w", "b.w"]), (["a.w"], ["b.w"]), ("^b", ["a.w"]), (r"\.w$", [])])
def test_variables_are_taken_out_by_name_or_pattern(exclude: str | list[str] | None, left: list[str]) -> None:
    """T132 (ExcludeVars)."""
    model = Shareable(Kind.WEIGHTS, {"a.w": np.zeros(2), "b.w": np.ones(2)}, {"num_examples": 3})

    got = ExcludeVars(exclude).process(model, Context())

    assert list(got.tensors) == left
    assert (got.kind, got.meta) == (model.kind, model.meta)
