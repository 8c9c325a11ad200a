"""What do the admin's tests talk to? A real server and real sites on one loop, and a thread that runs their job code."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any

from sundog.components.resources.unlimited import AlwaysYes
from sundog.components.schedulers.fifo import FifoScheduler
from sundog.kernel.operator_roles import ResourceManager
from sundog.kits.admin.loop_thread import LoopThread
from sundog.kits.admin.session import Session
from sundog.kits.server.server import Server
from sundog.kits.simulator.inproc_launcher import InprocLauncher, MainThread
from sundog.kits.site.site import Site
from sundog.kits.supervisor.means import open_means
from sundog.kits.workspace.folders import Workspace
from sundog.kits.workspace.kit import AdminKit, ServerKit, SiteKit, write_kit

PROJECT = "clinic"
WIRES = ["inproc://server:0", "tcp://127.0.0.1:0"]
FOREVER = 100_000
"""Rounds: more than a test waits for."""


class Federation:
    """A server, its sites, and sessions with it."""

    def __init__(self, root: Path, wire: str) -> None:
        self.root = root
        self.loop = LoopThread("federation")
        self.sites: dict[str, Site] = {}
        self.sessions: list[Session] = []
        main = MainThread(strike=lambda _: None)
        self.mailbox = main.mailbox
        self._is_over = False
        self._pump = threading.Thread(target=self._run_jobs, name="jobs")
        self._pump.start()
        self._launcher = InprocLauncher(main)
        self._wire = wire
        self._stack = AsyncExitStack()
        self.means = self.loop.call(self._stack.enter_async_context(open_means()))
        self.server = self._new_server()

    def start(self, sites: Sequence[str]) -> None:
        """Start the server, then so many sites, and wait for them."""
        self.loop.call(self.server.start())
        self.address = self.server.addresses[0]
        for name in sites:
            self.start_site(name)
        self.loop.call(self.server.wait_for_sites(len(sites)))

    def restart_server(self) -> None:
        """Another server in the place of the one that there was; at another address."""
        self.loop.call(self.server.close())
        self.server = self._new_server()
        self.loop.call(self.server.start())
        self.address = self.server.addresses[0]

    def _new_server(self) -> Server:
        kit = ServerKit(project=PROJECT, listen=self._wire, admin_listen=self._wire)
        return Server(self._workspace("server"), kit, self.means, launcher=self._launcher, scheduler=FifoScheduler(max_jobs=1))

    def start_site(self, name: str, resources: ResourceManager | None = None) -> None:
        kit = SiteKit(project=PROJECT, name=name, endpoints=[self.address])
        self.sites[name] = Site(self._workspace(name), kit, self.means, launcher=self._launcher, resources=resources or AlwaysYes())
        self.loop.call(self.sites[name].start())

    def stop_site(self, name: str) -> None:
        self.loop.call(self.sites.pop(name).close())

    def session(self, *, endpoint: str = "", project: str = PROJECT, timeout: float = 20.0) -> Session:
        """A session; over tcp it has a thread of its own, as users' sessions have."""
        endpoint = endpoint or self.address
        folder = self.root / "admin"
        write_kit(folder, AdminKit(project=project, endpoints=[endpoint]))
        thread = self.loop if endpoint.startswith("inproc") else None
        self.sessions.append(Session(folder, timeout=timeout, thread=thread))
        return self.sessions[-1]

    def job(self, name: str, *, rounds: int = 1, files: dict[str, bytes] | None = None, **meta: Any) -> str:
        """Write a job to the admin's upload folder; its name. Every site adds one in every round."""
        root = self.root / "admin" / "transfer" / name
        write_job(root, rounds=rounds, **meta)
        for path, data in (files or {}).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(data)
        return name

    def close(self) -> None:
        for session in self.sessions:
            session.close()
        for name in list(self.sites):
            self.stop_site(name)
        self.loop.call(self.server.close())
        self.loop.call(self._stack.aclose())
        self.loop.close()
        self.mailbox.post(self._end)
        self._pump.join()

    def _run_jobs(self) -> None:
        while not self._is_over:
            self.mailbox.pump()

    def _end(self) -> None:
        self._is_over = True

    def _workspace(self, name: str) -> Workspace:
        (self.root / name / "startup").mkdir(parents=True, exist_ok=True)
        return Workspace(self.root / name).create()


def write_job(root: Path, *, rounds: int, **meta: Any) -> None:
    components = [
        {"id": "persistor", "name": "NPModelPersistor"},
        {"id": "update", "name": "FullModelUpdate"},
        {"id": "aggregator", "name": "WeightedMean", "args": {"expected_data_kind": "WEIGHTS"}},
    ]
    args = {"num_rounds": rounds, "aggregator_id": "aggregator", "persistor_id": "persistor", "update_id": "update"}
    server = {"workflows": [{"id": "train", "name": "ScatterAndGather", "args": args}], "components": components}
    client = {"executors": [{"tasks": ["train"], "executor": {"name": "NPTrainer"}}]}
    documents = {
        "meta.json": {"deploy_map": {"app": ["@ALL"]}, "min_clients": 2, **meta},
        "app/config/config_fed_server.json": server,
        "app/config/config_fed_client.json": client,
    }
    for path, document in documents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(json.dumps(document))


@contextmanager
def federation(root: Path, wire: str, sites: Sequence[str] = ("site-1", "site-2")) -> Iterator[Federation]:
    """A federation that is gone in the end."""
    made = Federation(root, wire)
    try:
        made.start(sites)
        yield made
    finally:
        made.close()
