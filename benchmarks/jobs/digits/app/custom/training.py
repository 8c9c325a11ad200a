"""A small network on scikit-learn's digits, four sites that are not alike; for the job and the plain loop."""

from __future__ import annotations

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy

SITES = 4
SEED = 2021
EPOCHS = 1
"""A round of the plain loop then costs what the target of W5 was set against: a tenth of a second."""
BATCH = 32
HELD_OUT = 360
"""Pictures that no site has; accuracy is measured on them."""


class Network(nn.Module):
    """[n, 1, 8, 8] pixels from 0 to 1 → [n, 10] logits; always made with the same weights."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(SEED)
            self.layers = nn.Sequential(
                nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
                nn.Flatten(), nn.Linear(32 * 4 * 4, 64), nn.ReLU(), nn.Linear(64, 10),
            )  # fmt: skip

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.layers(pixels)
        return logits


Pictures = tuple[torch.Tensor, torch.Tensor]
"""Pixels [n, 1, 8, 8] float32, classes [n] int64."""


def pictures() -> tuple[list[Pictures], Pictures]:
    """Those of each site, and those held out. Half of a site's pictures are of few classes: sorted, then cut."""
    data = load_digits()
    order = np.random.default_rng(SEED).permutation(len(data.target))
    held_out, rest = order[:HELD_OUT], order[HELD_OUT:]
    alike, sorted_by_class = np.array_split(rest, 2)
    sorted_by_class = sorted_by_class[np.argsort(data.target[sorted_by_class], kind="stable")]
    parts = zip(np.array_split(alike, SITES), np.array_split(sorted_by_class, SITES), strict=True)

    def chosen(rows: np.ndarray) -> Pictures:
        return torch.from_numpy(data.images[rows, None].astype(np.float32) / 16), torch.from_numpy(data.target[rows])

    return [chosen(np.concatenate(both)) for both in parts], chosen(held_out)


def train(network: nn.Module, mine: Pictures, seed: int) -> None:
    """Plain SGD; the same seed shuffles alike."""
    pixels, classes = mine
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9)
    generator = torch.Generator().manual_seed(seed)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(classes), generator=generator).split(BATCH):
            optimizer.zero_grad()
            cross_entropy(network(pixels[batch]), classes[batch]).backward()
            optimizer.step()


def seed_of(site: int, step: int) -> int:
    """By what a site (from 0) shuffles in a round."""
    return SEED + step * SITES + site


@torch.no_grad()
def accuracy(network: nn.Module, held_out: Pictures) -> float:
    """Share of the held-out pictures that are recognised."""
    pixels, classes = held_out
    return (network(pixels).argmax(dim=1) == classes).float().mean().item()
