"""Median: a filter against single outliers within a tensor."""

import numpy as np

from sundog import Filter


class Median(Filter):
    """Replace each number by the median of itself and its two neighbours on the last axis; both ends stay."""

    def process(self, shareable, ctx):
        return shareable.replace(tensors={name: _smoothed(array) for name, array in shareable.tensors.items()})


def _smoothed(array):
    smoothed = array.copy()
    if array.ndim and array.shape[-1] > 2:
        smoothed[..., 1:-1] = np.median([array[..., :-2], array[..., 1:-1], array[..., 2:]], axis=0)
    return smoothed
