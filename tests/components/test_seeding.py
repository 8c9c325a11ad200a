"""The same seed gives the same numbers, whichever libraries a process had imported before."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys

import numpy as np
import torch

from sundog.components.seeding import borrow_generators, generators_lent, seed_generators


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


def normals() -> list[float]:
    return [float(np.random.normal()), random.gauss(), torch.randn(1).item()]  # noqa: NPY002  # each keeps half of a pair


def test_a_loan_leaves_no_trace_even_in_the_middle_of_a_pair_of_normals() -> None:
    seed_generators(5)
    whole = [normals(), normals(), normals()]

    seed_generators(5)
    rest = []
    for seed in (1, 2, 3):
        rest.append(normals())
        with generators_lent(seed):
            lent = normals()

    assert rest == whole
    seed_generators(3)
    assert normals() == lent


def test_a_loan_ends_when_its_call_raises() -> None:
    seed_generators(5)
    first = draw()
    seed_generators(5)

    with contextlib.suppress(ValueError), generators_lent(1):
        draw()
        raise ValueError

    assert draw() == first


def test_torch_that_is_imported_during_a_loan_is_its_owners_afterwards() -> None:
    code = """
from sundog.components.seeding import generators_lent, seed_generators
import sys
seed_generators(5)
with generators_lent(1):
    assert "torch" not in sys.modules
    import torch
    lent = torch.rand(1).item()
print(torch.rand(1).item(), lent)
"""
    owned, lent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()

    seed_generators(5)
    assert owned == str(torch.rand(1).item())
    seed_generators(1)
    assert lent == str(torch.rand(1).item())


def test_loans_may_be_nested() -> None:
    """The simulator lends to sites; a filter of the server's has a loan of its own."""
    seed_generators(5)
    whole = draw()
    seed_generators(5)

    give_back = borrow_generators()
    with generators_lent(1):
        draw()
    give_back()

    assert draw() == whole
