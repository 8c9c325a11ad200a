"""Where does a matrix of evaluation results go, whichever workflow made it? Into a JSON file of one's choice."""

from __future__ import annotations

import json

from ...kernel.blobs import draft_of
from ...kernel.context import current_context
from ...kernel.hookspecs import observe


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
        self._is_written = True
