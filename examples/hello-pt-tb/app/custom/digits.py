"""Which pictures does a site have? Its own part of scikit-learn's handwritten digits, with its own mix of classes.

The 1,797 pictures (UCI "Optical Recognition of Handwritten Digits", test part) come with the package: nothing is
downloaded. Each class is shared out by a Dirichlet draw (Hsu, Qi, Brown 2019, arXiv:1909.06335), so that the sites
are not alike: with concentration 1 one site may have most of the sevens and hardly any three.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits

_CONCENTRATION = 1.0
_SPLIT_SEED = 2021
_HELD_OUT = 5
"""One picture in so many is kept for validation."""


@dataclass(frozen=True)
class Digits:
    """Pixels [n, 1, 8, 8], float32 from 0 to 1, and classes [n], int64 from 0 to 9."""

    pixels: torch.Tensor
    classes: torch.Tensor

    def __len__(self) -> int:
        return len(self.classes)


def digits_of(site: str, sites: int) -> tuple[Digits, Digits]:
    """A site's pictures, for training and for validation. All sites together have each picture once."""
    data = load_digits()
    mine = _parts(data.target, sites)[_number(site, sites)]
    held_out = np.arange(len(mine)) % _HELD_OUT == 0
    return _digits(data, mine[~held_out]), _digits(data, mine[held_out])


def _parts(classes: np.ndarray, sites: int) -> list[np.ndarray]:
    """Which pictures each site has, in an order that mixes the classes; the same at every site, whoever computes it."""
    generator = np.random.default_rng(_SPLIT_SEED)
    parts: list[list[np.ndarray]] = [[] for _ in range(sites)]
    for digit in range(10):
        members = generator.permutation(np.flatnonzero(classes == digit))
        shares = generator.dirichlet([_CONCENTRATION] * sites)
        cuts = np.round(np.cumsum(shares)[:-1] * len(members)).astype(int)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.append(piece)
    return [generator.permutation(np.concatenate(part)) for part in parts]


def _number(site: str, sites: int) -> int:
    """site-1 has part 0, site-2 part 1, …; a site whose name has no number at its end goes by its letters."""
    digits = re.search(r"\d+$", site)
    return (int(digits[0]) - 1 if digits else sum(site.encode())) % sites


def _digits(data: object, chosen: np.ndarray) -> Digits:
    pixels = data.images[chosen, None].astype(np.float32) / 16  # type: ignore[attr-defined]  # scikit-learn's Bunch has no types
    return Digits(torch.from_numpy(pixels), torch.from_numpy(data.target[chosen].astype(np.int64)))  # type: ignore[attr-defined]
