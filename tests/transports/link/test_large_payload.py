"""How much memory does a payload take on its way that is larger than it? Real processes, looked at from outside."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from sundog.kernel.tensors import layout

ROOT = Path(__file__).resolve().parents[3]
GROWTH_BYTES = 200_000_000
MIB = 1024 * 1024

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells how much of a process's memory is its own (RssAnon)")


@pytest.fixture
def memory(monkeypatch: pytest.MonkeyPatch) -> Any:
    """What the benchmarks look at memory with."""
    monkeypatch.syspath_prepend(str(ROOT))
    return import_module("benchmarks.memory")


@pytest.fixture
def payload(tmp_path: Path) -> Iterator[Path]:
    """One tensor of 1 GB. It is sparse, so quickly made; each MiB has its number, so that no piece can stand for another."""
    path = tmp_path / "payload"
    found = layout({"weight": ("F32", (250_000_000,))})
    with path.open("wb") as file:
        file.write(found.head)
        for at in range(0, 1_000_000_000, MIB):
            file.seek(len(found.head) + at)
            file.write(at.to_bytes(8, "big"))
        file.truncate(len(found.head) + 1_000_000_000)
    yield path
    path.unlink()


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "received"
    (tmp_path / "received").unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def peer(*arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A process that ends when its stdin does."""
    command = [sys.executable, "-P", str(Path(__file__).with_name("large_peer.py")), *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
            process.communicate(timeout=60)
            assert process.returncode == 0
        finally:
            process.kill()


def hear(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def transfer(memory: Any, server: subprocess.Popen[str], processes: list[subprocess.Popen[str]]) -> list[int]:
    """Let the server get the payload; the most that each process's own memory grew by, in bytes."""
    assert hear(server) == "up"
    before = [memory.memory_bytes(process.pid, "RssAnon") for process in processes]
    with memory.PeakMemory([process.pid for process in processes]) as looked:
        assert server.stdin is not None
        server.stdin.write("go\n")
        server.stdin.flush()
        assert hear(server) == "here"
    return [looked.peak_bytes[process.pid] - had for process, had in zip(processes, before, strict=True)]


@pytest.mark.parametrize("wire", ["tcp", "grpc", "zmq", "inproc"])
def test_a_gigabyte_hardly_grows_anybodys_memory(wire: str, memory: Any, payload: Path, target: Path) -> None:
    """T158: between two processes over each wire, and in one over inproc."""
    key, size = sha256_of(payload), payload.stat().st_size
    with ExitStack() as stack:
        if wire == "inproc":
            server = stack.enter_context(peer("both", "inproc://large", key, size, payload, target))
            processes = [server]
            assert hear(server).startswith("inproc://")
        else:
            server = stack.enter_context(peer("fetch", f"{wire}://127.0.0.1:0", key, size, target))
            processes = [server, stack.enter_context(peer("offer", hear(server), key, size, payload))]

        growth = transfer(memory, server, processes)

    assert sha256_of(target) == key
    assert max(growth) < GROWTH_BYTES
