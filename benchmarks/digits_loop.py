"""W5 without a framework: `python -m benchmarks.digits_loop MODEL`: a plain loop, one process, one thread."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

CUSTOM = Path(__file__).parent / "jobs" / "digits" / "app" / "custom"
sys.path.insert(0, str(CUSTOM))
from training import SITES, Network, accuracy, pictures, seed_of, train  # noqa: E402  # the job's own code

ROUNDS = 20
"""As config_fed_server.json says."""


def train_rounds() -> dict[str, torch.Tensor]:
    """FedAvg: the mean in float64, each site weighted by its pictures."""
    parts, _ = pictures()
    total = sum(len(classes) for _, classes in parts)
    network = Network()
    model = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    for step in range(ROUNDS):
        mean = {name: torch.zeros_like(tensor, dtype=torch.float64) for name, tensor in model.items()}
        for site in range(SITES):
            network.load_state_dict(model)
            train(network, parts[site], seed_of(site, step))
            for name, tensor in network.state_dict().items():
                mean[name] += tensor.double() * len(parts[site][1])
        model = {name: (tensor / total).float() for name, tensor in mean.items()}
    return model


def accuracy_of(model: Path) -> float:
    """On the pictures that no site has."""
    network = Network()
    network.load_state_dict(load_file(model))
    return accuracy(network, pictures()[1])


if __name__ == "__main__":
    torch.set_num_threads(1)
    save_file(train_rounds(), sys.argv[1])
