"""The limit of a round: what a plain program needs that does nothing else.

`raw_rounds`: three processes over TCP, one reused buffer per direction, arithmetic in place. The server sends the model to
all clients at once and receives from all at once; each client adds 1 to every weight in the buffer that it received
into and sends that back; the server takes the mean, block by block.

`plain_rounds`: the same arithmetic in one process, for the simulator.
"""

from __future__ import annotations

import multiprocessing
import select
import socket
import time
from collections.abc import Sequence
from contextlib import ExitStack

import numpy as np

from .noop_job import Size

HOST = "127.0.0.1"
CLIENTS = 2
BLOCK_ITEMS = 2**17
"""512 KiB of float32: model and results of a block stay in the second-level cache."""


def raw_rounds(size: Size, rounds: int, clients: int = CLIENTS) -> list[float]:
    """Seconds of each round."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        port = listener.getsockname()[1]
        processes = [spawn.Process(target=_client, args=(port, size.size_bytes, rounds)) for _ in range(clients)]
        for process in processes:
            process.start()
            stack.callback(process.join)
        connections = [stack.enter_context(listener.accept()[0]) for _ in processes]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.setblocking(False)
        model, *results = (np.zeros(size.size_bytes // 4, np.float32) for _ in range(1 + clients))
        return [_round(connections, model, results) for _ in range(rounds)]


def plain_rounds(size: Size, rounds: int, clients: int = CLIENTS) -> list[float]:
    """Seconds of each round, without any other process."""
    model, *results = (np.zeros(size.size_bytes // 4, np.float32) for _ in range(1 + clients))
    seconds = []
    for _ in range(rounds):
        began = time.perf_counter()
        for result in results:
            np.add(model, 1, out=result)
        _mean(results, model)
        seconds.append(time.perf_counter() - began)
    return seconds


def _round(connections: Sequence[socket.socket], model: np.ndarray, results: Sequence[np.ndarray]) -> float:
    began = time.perf_counter()
    _send(connections, model.data.cast("B"))
    _receive({connection: result.data.cast("B") for connection, result in zip(connections, results, strict=True)})
    _mean(results, model)
    return time.perf_counter() - began


def _send(connections: Sequence[socket.socket], model: memoryview) -> None:
    left = dict.fromkeys(connections, model)
    ready = list(connections)  # nothing is under way: each takes some without waiting
    while left:
        for connection in ready:
            rest = left[connection][connection.send(left[connection]) :]
            if rest:
                left[connection] = rest
            else:
                del left[connection]
        if left:
            _, ready, _ = select.select([], list(left), [])


def _receive(left: dict[socket.socket, memoryview]) -> None:
    while left:
        ready, _, _ = select.select(list(left), [], [])
        for connection in ready:
            left[connection] = _received(connection, left[connection])
            if not left[connection]:
                del left[connection]


def _received(connection: socket.socket, into: memoryview) -> memoryview:
    """Receive what is there; the part of the buffer that is still empty."""
    count = connection.recv_into(into)
    if not count:
        raise ConnectionError("the other process is gone")
    return into[count:]


def _mean(results: Sequence[np.ndarray], model: np.ndarray) -> None:
    first, second, *others = results
    share = np.float32(1 / len(results))
    for start in range(0, len(model), BLOCK_ITEMS):
        part = slice(start, start + BLOCK_ITEMS)
        block = model[part]
        np.add(first[part], second[part], out=block)
        for other in others:
            block += other[part]
        block *= share


def _client(port: int, size_bytes: int, rounds: int) -> None:
    model = np.zeros(size_bytes // 4, np.float32)
    view = model.data.cast("B")
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            left = view
            while left:
                left = _received(connection, left)
            model += 1
            connection.sendall(view)
