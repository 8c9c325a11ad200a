"""Where does a matrix of evaluation results go, whichever workflow made it? Into a JSON file of one's choice."""

from __future__ import annotations

import json

import numpy as np

from ...kernel.blobs import draft_of
from ...kernel.context import current_context
from ...kernel.hookspecs import observe
from ...kernel.shareable import Kind, Shareable


class ValidationJsonGenerator:
    """Writes {site that evaluated: {whose model: {metric: value}}} before a step with such results is closed.

    CrossSiteModelEval writes the default file by itself; this is for workflows of one's own, or for another place.

    Args:
        results_dir: a folder below the run's folder.
        json_file_name: the file in it.
    """

    def __init__(self, results_dir: str = "cross_site_val", json_file_name: str = "cross_val_results.json") -> None:
        self.results_dir = results_dir
        self.json_file_name = json_file_name
        self._results: dict[str, dict[str, dict[str, float]]] = {}
        self._is_written = True

    def state(self) -> Shareable | None:
        """What it has noted so far."""
        data = json.dumps(self._results, sort_keys=True).encode()
        return Shareable(Kind.METRICS, {"json": np.frombuffer(data, np.uint8)}) if self._results else None

    def restore(self, state: Shareable) -> None:
        """Go on from there."""
        self._results = json.loads(state.tensors["json"].tobytes())
        self._is_written = False  # what was noted behind the last commit is in no file yet

    @observe
    def validation_result_received(self, model_owner: str, site: str, metrics: dict[str, float]) -> None:
        """Note one result; of the same model and site, the last counts."""
        self._results.setdefault(site, {})[model_owner] = metrics
        self._is_written = False

    @observe
    def before_commit(self) -> None:
        """Write what is new, before the step that it belongs to is closed for ever."""
        self._write()

    @observe
    def run_ended(self) -> None:
        """Write what is new, when a run ends in the middle of a step."""
        self._write()

    def _write(self) -> None:
        if self._is_written:
            return
        path = current_context().folder / self.results_dir / self.json_file_name
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(path) as draft:
            draft.write_text(json.dumps(self._results, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        current_context().keep(path)
        self._is_written = True
