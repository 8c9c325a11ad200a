"""Which network is trained? A small dense one for 8 × 8 grey pictures of the ten digits."""

from __future__ import annotations

from torch import nn


class Network(nn.Sequential):
    """[n, 64] pixels from 0 to 1 → [n, 10] logits."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
