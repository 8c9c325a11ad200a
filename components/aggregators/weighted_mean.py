"""FedAvg's aggregate: the mean of what the sites sent, each weighted by how many examples it stands for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Literal

from ...kernel.errors import ComponentError
from ...kernel.hookspecs import observe
from ...kernel.roles import Aggregator
from ...kernel.shareable import Kind, Shareable
from ...kernel.tasks import Result, Task
from ..naming import matcher
from .contributions import ContributionRefused, Contributions, NothingToAggregate
from .fold import Integers, Share, weighted_mean


class NegativeWeight(ComponentError):
    """A site's aggregation weight is below 0.

    Cause: a typing mistake in `aggregation_weights`.

    Cure: give a weight from 0 on; 0 leaves the site out.
    """

    code = "SD-3033"


class WeightedMean(Aggregator):
    """The weighted mean, summed in float64 in site-name order, block by block (see `fold`); of a COLLECTION, of each member.

    McMahan et al., "Communication-Efficient Learning of Deep Networks from Decentralized Data", AISTATS 2017, equation 1.

    Args:
        weights: a result weighs its `num_examples` (it must say so, and have some), or all weigh the same.
        aggregation_weights: site → factor of its weight; default 1.
        exclude_vars: tensors that are left out: names, or a regular expression that is searched for; those of a
            COLLECTION are called member/tensor.
        expected_data_kind: what is taken; for a COLLECTION, a dict of member → kind. Default: any weights, all of one kind.
        integers: what becomes of integers and booleans: "max" (right for counters such as BatchNorm's), or "mean", rounded.
    """

    def __init__(
        self,
        *,
        weights: Literal["num_examples", "equal"] = "num_examples",
        aggregation_weights: dict[str, float] | None = None,
        exclude_vars: str | list[str] | None = None,
        expected_data_kind: Kind | dict[str, Kind] | None = None,
        integers: Integers = "max",
    ) -> None:
        self.weights = weights
        self.aggregation_weights = aggregation_weights or {}
        self.integers: Integers = integers
        self._is_excluded = matcher(exclude_vars)
        self._contributions = Contributions(expected_data_kind)
        for site, weight in self.aggregation_weights.items():
            if not weight >= 0:
                raise NegativeWeight(f"wanted a weight from 0 on, got {weight!r}", where=f"aggregation_weights.{site}")

    @observe
    def before_task_sent(self, task: Task) -> None:
        """Know what the sites start from, so that a contribution with other tensors can be refused."""
        self._contributions.model = task.model

    def check(self, result: Result) -> None:
        for member in _members(result).values():
            self._weight(member)
        self._contributions.check(result)

    def aggregate(self, results: Iterable[Result]) -> Shareable:
        """The mean. Results that `check` has not seen are checked now.

        Raises:
            ContributionRefused: names the site and what is wrong.
            NothingToAggregate: no result, or no weight.
        """
        parts = [_members(result) for result in self._contributions.close(results)]
        means = {name: self._mean(name, [part[name] for part in parts]) for name in parts[0]}
        return means[""] if "" in means else Shareable.collection(means)

    def _mean(self, member: str, results: Sequence[Result]) -> Shareable:
        first = results[0].shareable
        kept = [name for name in first.tensors if not self._is_excluded(f"{member}/{name}" if member else name)]
        shares = [Share(result.shareable.tensors.select(kept), self._weight(result)) for result in results]
        total = sum(share.weight for share in shares)
        if not total > 0:
            raise NothingToAggregate(f"the weights of {', '.join(result.site for result in results)} are all 0")
        return Shareable(first.kind, weighted_mean(shares, self.integers), {"num_examples": total})

    def _weight(self, result: Result) -> float:
        factor = self.aggregation_weights.get(result.site, 1.0)
        if self.weights == "equal":
            return factor
        count = result.shareable.num_examples
        if not count:
            cure = 'let the trainer report num_examples, or give the aggregator "weights": "equal"'
            raise ContributionRefused(f"wanted num_examples above 0, got {count}", where=result.site, cure=cure)
        return factor * count


def _members(result: Result) -> dict[str, Result]:
    """The result itself under the name ""; of a COLLECTION, each member, with the whole's `num_examples` if it has none."""
    whole = result.shareable
    if whole.kind is not Kind.COLLECTION:
        return {"": result}
    examples = {"num_examples": whole.num_examples}
    return {name: replace(result, shareable=each.replace(meta=examples | each.meta)) for name, each in whole.members().items()}
