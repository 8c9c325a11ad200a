"""Which wires are the admin's tests run over?"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .federation import WIRES, Federation, federation


@pytest.fixture(params=WIRES, ids=["inproc", "tcp"])
def clinic(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Federation]:
    """A server and two sites, over each wire."""
    with federation(tmp_path, request.param) as made:
        yield made


@pytest.fixture
def clinic_tcp(tmp_path: Path) -> Iterator[Federation]:
    """A server and two sites over tcp; sessions have threads of their own."""
    with federation(tmp_path, WIRES[1]) as made:
        yield made
