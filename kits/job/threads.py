"""How many threads do a job's libraries use? As many as its meta says, since sums depend on it bit for bit."""

from __future__ import annotations

import sys


def limit_torch_threads(count: int) -> None:
    """Torch reads OMP_NUM_THREADS only when it is imported, and may have been before; it is not imported for this."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(count)
