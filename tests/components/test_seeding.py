"""The same seed gives the same numbers, whichever libraries a process had imported before."""

from __future__ import annotations

import random
import subprocess
import sys

import numpy as np
import torch

from sundog.components.seeding import seed_generators


def draw() -> list[float]:
    return [random.random(), float(np.random.rand()), torch.rand(1).item()]  # noqa: NPY002  # what is seeded


def test_the_same_seed_gives_the_same_numbers() -> None:
    seed_generators(2**62 + 1)
    first = draw()
    seed_generators(2**62 + 1)

    assert draw() == first
    seed_generators(2)
    assert draw() != first


def test_torch_is_seeded_even_if_it_is_imported_only_later() -> None:
    code = """
from sundog.components.seeding import seed_generators
import importlib.util, sys
seed_generators(1)
seed_generators(5)
assert "torch" not in sys.modules and importlib.util.find_spec("torch")
import torch
print(torch.rand(1).item(), len([finder for finder in sys.meta_path if "SeedWhenImported" in repr(finder)]))
"""
    late = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    seed_generators(5)
    assert late == [str(torch.rand(1).item()), "0"]
