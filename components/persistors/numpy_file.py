"""How is a numpy model kept on the server? As a .npy file, or as .npz when it has several tensors."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

import numpy as np

from ...kernel.blobs import draft_of
from ...kernel.context import current_context
from ...kernel.errors import ComponentError
from ...kernel.roles import Persistor
from ...kernel.shareable import Kind, Shareable, Tensors
from ...kernel.tensors import Array

NUMPY_KEY = "numpy_key"
"""What the only tensor of a .npy file is called, as in FLARE."""


class NumpyFileUnreadable(ComponentError):
    """A numpy file cannot be read as a model.

    Cause: it is missing, damaged, or holds Python objects, which are never loaded.

    Cure: write it with np.save or np.savez, from arrays of numbers.
    """

    code = "SD-3051"


class NotANumpyType(ComponentError):
    """A model has a tensor that numpy's files cannot describe.

    Cause: bfloat16 and float8 are no types of numpy's own: they would be read back as raw bytes.

    Cure: keep such a model with PTFileModelPersistor, or train it in float16 or float32.
    """

    code = "SD-3052"


class NPModelPersistor(Persistor):
    """Starts from a file, or without one from the 3 × 3 float32 matrix of 1 to 9, and writes models/server.npy.

    A model whose only tensor is called "numpy_key" becomes a .npy file; any other a .npz file of the same stem.

    Args:
        model_dir: the folder, below the run's folder (or absolute). The initial model may lie there, or in the job's
            app folder under the same name.
        model_name: the file; the best model's gets "best_" in front.
    """

    def __init__(self, model_dir: str = "models", model_name: str = "server.npy") -> None:
        self.model_dir = model_dir
        self.model_name = model_name

    def load(self) -> Shareable:
        """The initial model.

        Raises:
            NumpyFileUnreadable: there is a file, but it holds no model.
        """
        folder = current_context().folder
        for place in (folder, folder / "app"):
            path = self._existing(place, "")
            if path is not None:
                return read_model(path)
        return Shareable(Kind.WEIGHTS, {NUMPY_KEY: np.arange(1, 10, dtype=np.float32).reshape(3, 3)})

    def save(self, model: Shareable, name: str = "") -> Path:
        """Write the model; the file appears when it is complete.

        Raises:
            NotANumpyType: names the tensor.
        """
        path, other = self._paths(current_context().folder, name)
        if list(model.tensors) != [NUMPY_KEY]:
            path, other = other, path
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, model.tensors)
        other.unlink(missing_ok=True)
        return path

    def saved(self, name: str = "") -> Path | None:
        """The file that `save` has written in this run; None before that."""
        return self._existing(current_context().folder, name)

    def _existing(self, folder: Path, name: str) -> Path | None:
        return next((path for path in self._paths(folder, name) if path.is_file()), None)

    def _paths(self, folder: Path, name: str) -> tuple[Path, Path]:
        path = folder / self.model_dir / (f"{name}_{self.model_name}" if name else self.model_name)
        return path.with_suffix(".npy"), path.with_suffix(".npz")


def read_model(path: Path) -> Shareable:
    """The WEIGHTS in a .npy or .npz file; no Python object is ever loaded.

    Raises:
        NumpyFileUnreadable: names the file.
    """
    try:
        with path.open("rb") as file:  # np.load forgets to close a damaged archive
            found = np.load(file, allow_pickle=False)
            arrays: dict[str, Array] = {NUMPY_KEY: found} if isinstance(found, np.ndarray) else dict(found)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as exc:
        raise NumpyFileUnreadable(f"wanted arrays of numbers: {exc}", where=str(path)) from exc
    return Shareable(Kind.WEIGHTS, arrays)


def _write(path: Path, tensors: Tensors) -> None:
    for name in tensors:
        if tensors.dtype(name).kind not in "fiub":
            raise NotANumpyType(f"wanted a float, integer or boolean type of numpy, got {tensors.dtype(name)}", where=f"tensor {name}")
    with draft_of(path) as draft:
        if path.suffix == ".npy":
            with draft.open("wb") as file:
                np.save(file, tensors[NUMPY_KEY], allow_pickle=False)
        else:
            _write_archive(draft, tensors)


def _write_archive(path: Path, tensors: Tensors) -> None:
    """As np.savez does, but one tensor at a time, and whatever a tensor is called."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in tensors:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, tensors[name], allow_pickle=False)
