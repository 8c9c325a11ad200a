"""Small jobs for whole runs: numpy models, and trainers of a few lines."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

Spec = Mapping[str, Any]
PARTS: list[Spec] = [
    {"id": "aggregator", "name": "WeightedMean"},
    {"id": "persistor", "name": "NPModelPersistor"},
    {"id": "update", "name": "FullModelUpdate"},
]
NUMPY: Spec = {"name": "NPTrainer"}


def training(rounds: int = 2, **args: Any) -> Spec:
    """Scatter and gather over the parts above."""
    ids = {f"{name}_id": name for name in ("aggregator", "persistor", "update")}
    return {"id": "sag", "name": "ScatterAndGather", "args": {"num_rounds": rounds, **ids, **args}}


def executor(spec: Spec, *tasks: str) -> Spec:
    return {"tasks": list(tasks or ("train",)), "executor": spec}


def custom(kind: str, /, **args: Any) -> dict[str, Any]:
    """A class of the job's own code."""
    return {"path": f"code_e2e.{kind}", "args": args}


class JobFolder:
    """A job that is written when it is complete.

    Args:
        root: where it goes.
        workflows: the server's, default: one training of two rounds.
        executors: the sites', default: numpy training.
        components: besides aggregator, persistor and update.
        code: what stands in custom/code_e2e.py at the server and at the sites.
    """

    def __init__(
        self,
        root: Path,
        workflows: Sequence[Spec] = (),
        executors: Sequence[Spec] = (),
        *,
        components: Sequence[Spec] = (),
        code: str = "",
    ) -> None:
        self.root = root
        self.meta: dict[str, Any] = {"name": "small", "deploy_map": {"app": ["@ALL"]}}
        self.server: dict[str, Any] = {"workflows": list(workflows) or [training()], "components": [*PARTS, *components]}
        self.client: dict[str, Any] = {"executors": list(executors) or [executor(NUMPY)]}
        self.code = code

    def write(self) -> Path:
        """Write it, with one app for everybody."""
        self.write_app("app", self.server, self.client, self.code)
        return self.write_meta()

    def write_meta(self) -> Path:
        """Write meta.json, when the apps are written."""
        (self.root / "meta.json").write_text(json.dumps(self.meta))
        return self.root

    def write_app(self, name: str, server: Spec | None, client: Spec | None, code: str = "") -> None:
        """Write one app of it."""
        config, own = self.root / name / "config", self.root / name / "custom"
        config.mkdir(parents=True)
        own.mkdir()
        for file, document in (("config_fed_server", server), ("config_fed_client", client)):
            if document is not None:
                (config / f"{file}.json").write_text(json.dumps(document))
        if code:
            (own / "code_e2e.py").write_text(code)
