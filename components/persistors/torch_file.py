"""How is a torch model kept on the server? As a file of its state_dict, which torch reads back without unpickling objects."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...kernel.blobs import draft_of
from ...kernel.context import current_context
from ...kernel.errors import ComponentError
from ...kernel.roles import Persistor
from ...kernel.shareable import Kind, Shareable
from ..naming import matcher
from ..torch_tensors import need_torch, to_arrays, to_state_dict


class NotAModule(ComponentError):
    """A torch persistor was given something else than a torch model.

    Cause: `model` in the job's configuration names a class that is no torch.nn.Module.

    Cure: give it the model as a component: "model": {"path": "network.Net", "args": {…}}.
    """

    code = "SD-3103"


class ModelFileUnreadable(ComponentError):
    """A file of model weights is missing or cannot be read.

    Cause: nothing was saved under this name yet, or the file holds more than tensors: a whole pickled model is never loaded.

    Cure: keep `torch.save(model.state_dict(), path)`, not `torch.save(model, path)`; check the path in the message.
    """

    code = "SD-3104"


class PTFileModelPersistor(Persistor):
    """Starts from a torch model and writes models/FL_global_model.pt and models/best_FL_global_model.pt.

    Args:
        model: the torch.nn.Module; its initial weights are the initial model.
        exclude_vars: names, or a regular expression, of variables that never leave the server; files have the model's own.
        global_model_file_name: where the final model goes, under the run's models/ folder.
        best_global_model_file_name: where the best model goes.
        source_ckpt_file_full_name: a file with a state_dict to start from instead of the model's initial weights.

    Raises:
        NotAModule: `model` has no state_dict.
        BadPattern: `exclude_vars` is no regular expression.
    """

    def __init__(
        self,
        model: Any,
        exclude_vars: str | list[str] | None = None,
        *,
        global_model_file_name: str = "FL_global_model.pt",
        best_global_model_file_name: str = "best_FL_global_model.pt",
        source_ckpt_file_full_name: str | None = None,
    ) -> None:
        if not callable(getattr(model, "state_dict", None)):
            raise NotAModule(f"wanted a torch.nn.Module, got {type(model).__name__}", where="persistor, model")
        self.model = model
        self._is_excluded = matcher(exclude_vars)
        self.files = {"": global_model_file_name, "best": best_global_model_file_name}
        self.source = source_ckpt_file_full_name

    def load(self) -> Shareable:
        """The model's own weights, or those of the source file: name → array of the tensor's shape and dtype.

        Raises:
            ModelFileUnreadable: the source file is missing or no state_dict.
            TorchMissing: torch is not installed.
        """
        return self._shareable(_read(Path(self.source)) if self.source else self.model.state_dict())

    def save(self, model: Shareable, name: str = "") -> Path:
        """Write a state_dict, whole or not at all; what never left the server is filled in from the model."""
        torch = need_torch()
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft_of(path) as draft, draft.open("xb") as file:  # torch would write the draft's name into a file that it opens itself
            torch.save({**self.model.state_dict(), **to_state_dict(model.tensors)}, file)
        return path

    def path(self, name: str = "") -> Path:
        """The file that `save` writes for this name in the current run."""
        file = self.files.get(name) or f"{name}_{self.files['']}"
        return current_context().folder / "models" / file

    def read(self, name: str = "") -> Shareable:
        """What was saved under a name.

        Raises:
            ModelFileUnreadable: nothing was, or the file is no state_dict.
        """
        return self._shareable(_read(self.path(name)))

    def _shareable(self, state: Mapping[str, Any]) -> Shareable:
        return Shareable(Kind.WEIGHTS, to_arrays({name: value for name, value in state.items() if not self._is_excluded(name)}))


def _read(path: Path) -> Mapping[str, Any]:
    torch = need_torch()
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # zipfile's, struct's, torch's own: a damaged file can raise nearly anything
        raise ModelFileUnreadable(f"wanted a state_dict, got {type(error).__name__}: {error}"[:500], where=str(path)) from error
    if not isinstance(state, Mapping):
        raise ModelFileUnreadable(f"wanted a state_dict, got a {type(state).__name__}", where=str(path))
    return state
