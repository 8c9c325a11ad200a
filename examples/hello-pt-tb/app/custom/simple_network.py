"""Which network is trained? A small convolutional one for 8 × 8 grey pictures of the ten digits."""

from __future__ import annotations

import torch
from torch import nn


class SimpleNetwork(nn.Module):
    """Two convolutions, two dense layers: [n, 1, 8, 8] pixels from 0 to 1 → [n, 10] logits."""

    def __init__(self) -> None:
        super().__init__()
        self.convolutions = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        )  # fmt: skip
        self.dense = nn.Sequential(nn.Flatten(), nn.Linear(32 * 2 * 2, 64), nn.ReLU(), nn.Linear(64, 10))

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.dense(self.convolutions(pixels))
        return logits
