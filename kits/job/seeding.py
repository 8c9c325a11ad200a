"""How the runtime makes job code repeatable: the same seed before the same call, everywhere (DESIGN §7)."""

from __future__ import annotations

import random
import sys

import numpy as np


def seed_generators(seed: int) -> None:
    """Seed `random`, `numpy.random` and, if the job has imported it, torch."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002  # user code calls the old interface; this is what it draws from
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(seed)


def limit_torch_threads(count: int) -> None:
    """Torch reads OMP_NUM_THREADS only when it is imported; in the simulator it may have been before."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
