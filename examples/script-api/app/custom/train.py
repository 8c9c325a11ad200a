"""How does an ordinary PyTorch loop join a federation? By the five lines marked `# sundog`."""

from __future__ import annotations

import argparse

import torch
from network import Network
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

import sundog  # sundog

parser = argparse.ArgumentParser()
parser.add_argument("--epochs", type=int, default=3)
parser.add_argument("--lr", type=float, default=0.1)
options = parser.parse_args()

digits = load_digits()
pixels = torch.tensor(digits.data, dtype=torch.float32) / 16
classes = torch.tensor(digits.target)
mine = torch.randperm(len(pixels))[:600]  # another 600 at each site, as each is seeded by its name
training, validation = mine[:500], mine[500:]

network = Network()
with sundog.site() as site:  # sundog
    for task in site.tasks():  # sundog
        network.load_state_dict(site.state_dict(task.model))  # sundog

        accuracy = (network(pixels[validation]).argmax(dim=1) == classes[validation]).float().mean().item()
        optimizer = torch.optim.SGD(network.parameters(), lr=options.lr, momentum=0.9)
        for epoch in range(options.epochs):
            for batch in training[torch.randperm(len(training))].split(32):
                optimizer.zero_grad()
                loss = cross_entropy(network(pixels[batch]), classes[batch])
                loss.backward()
                optimizer.step()
            print(f"epoch {epoch}: loss {loss.item():.3f}")

        site.send(network.state_dict(), num_examples=len(training), metrics={"accuracy": accuracy})  # sundog
