"""Median: an aggregator against outlying sites."""

import numpy as np

from sundog import Aggregator, Shareable


class Median(Aggregator):
    """Take the median over the sites of each number."""

    def aggregate(self, results):
        answers = [result.shareable for result in results]
        tensors = {name: np.median([answer.tensors[name] for answer in answers], axis=0) for name in answers[0].tensors}
        return Shareable(answers[0].kind, tensors)
