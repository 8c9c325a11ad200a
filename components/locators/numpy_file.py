"""Which of the server's numpy models take part in a cross-site evaluation? Those that the persistor has saved."""

from __future__ import annotations

from pathlib import Path

from ...kernel.errors import ComponentError
from ...kernel.roles import ModelLocator
from ...kernel.shareable import Shareable
from ...kernel.wording import did_you_mean
from ..persistors.numpy_file import NPModelPersistor, read_model

_SAVED_AS = {"server": "", "server_best": "best"}
"""Name in an evaluation → name it was saved under."""


class NoSuchNumpyModel(ComponentError):
    """A model was asked for that was not saved.

    Cause: a mistake in the workflow: it must ask `names()` first.

    Cure: use one of the names in the message.
    """

    code = "SD-3056"


class NPModelLocator(ModelLocator):
    """Finds the final model ("server") and the best one ("server_best") where NPModelPersistor has saved them.

    Args:
        model_dir: the persistor's folder.
        model_file_name: the persistor's file.
    """

    def __init__(self, model_dir: str = "models", model_file_name: str = "server.npy") -> None:
        self._persistor = NPModelPersistor(model_dir, model_file_name)

    def names(self) -> list[str]:
        return list(self._files())

    def locate(self, name: str) -> Shareable:
        """The weights of one model.

        Raises:
            NoSuchNumpyModel: there is none of this name.
            NumpyFileUnreadable: its file is damaged.
        """
        files = self._files()
        if name not in files:
            raise NoSuchNumpyModel(f"there is no model {name!r}{did_you_mean(name, files)}")
        return read_model(files[name])

    def _files(self) -> dict[str, Path]:
        found = {name: self._persistor.saved(kept) for name, kept in _SAVED_AS.items()}
        return {name: path for name, path in found.items() if path is not None}
