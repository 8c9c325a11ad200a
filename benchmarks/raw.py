"""How fast could a round be at all? Three processes, blocking sockets, one reused buffer each, sums in place.

The server sends the model to two clients; each adds 1 to every weight in the buffer it received into and sends that
back; the server receives into one buffer, adds to the sum, divides. No framework does less.
"""

from __future__ import annotations

import multiprocessing
import socket
import time
from contextlib import ExitStack

import numpy as np

from .noop_job import Size

HOST = "127.0.0.1"
CLIENTS = 2


def raw_rounds(size: Size, rounds: int) -> list[float]:
    """Seconds of each round."""
    spawn = multiprocessing.get_context("spawn")
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server((HOST, 0)))
        port = listener.getsockname()[1]
        clients = [spawn.Process(target=_client, args=(port, size.size_bytes, rounds)) for _ in range(CLIENTS)]
        for client in clients:
            client.start()
            stack.callback(client.join)
        connections = [stack.enter_context(listener.accept()[0]) for _ in clients]
        for connection in connections:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        model, received = (np.zeros(size.size_bytes // 4, np.float32) for _ in range(2))
        return [_round(connections, model, received) for _ in range(rounds)]


def _round(connections: list[socket.socket], model: np.ndarray, received: np.ndarray) -> float:
    began = time.perf_counter()
    for connection in connections:
        connection.sendall(memoryview(model).cast("B"))
    model.fill(0)
    for connection in connections:
        _receive(connection, received)
        model += received
    model /= len(connections)
    return time.perf_counter() - began


def _client(port: int, size_bytes: int, rounds: int) -> None:
    model = np.zeros(size_bytes // 4, np.float32)
    with socket.create_connection((HOST, port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(rounds):
            _receive(connection, model)
            model += 1
            connection.sendall(memoryview(model).cast("B"))


def _receive(connection: socket.socket, array: np.ndarray) -> None:
    view = memoryview(array).cast("B")
    while view:
        count = connection.recv_into(view)
        if not count:
            raise ConnectionError("the other process is gone")
        view = view[count:]
