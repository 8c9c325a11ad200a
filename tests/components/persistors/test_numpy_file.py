from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from sundog.components.locators.numpy_file import NoSuchNumpyModel, NPModelLocator
from sundog.components.persistors.numpy_file import NotANumpyType, NPModelPersistor, NumpyFileUnreadable
from sundog.kernel.context import Context, entered
from sundog.kernel.shareable import Kind, Shareable


@pytest.fixture(autouse=True)
def folder(tmp_path: Path) -> Iterator[Path]:
    with entered(Context(folder=tmp_path)):
        yield tmp_path


def single(*values: float) -> Shareable:
    return Shareable(Kind.WEIGHTS, {"numpy_key": np.array(values, np.float32)})


def several() -> Shareable:
    return Shareable(Kind.WEIGHTS, {"file": np.arange(6.0).reshape(2, 3), "a/b": np.int64(4), "empty": np.empty((0, 2), np.float16)})


def test_without_a_file_it_starts_from_the_numbers_one_to_nine() -> None:
    model = NPModelPersistor().load()

    assert model.tensors["numpy_key"].tolist() == [[1, 2, 3], [4, 5, 6], [7, 8, 9]]
    assert model.tensors["numpy_key"].dtype == np.float32


@pytest.mark.parametrize(("model", "file"), [(single(1, 2), "server.npy"), (several(), "server.npz")])
def test_a_model_comes_back_as_it_was(model: Shareable, file: str, folder: Path) -> None:
    """T130 (numpy)."""
    assert NPModelPersistor().save(model) == folder / "models" / file
    assert NPModelPersistor().load() == model


def test_the_best_model_has_a_file_of_its_own(folder: Path) -> None:
    """T130 (numpy): last and best file."""
    persistor = NPModelPersistor()
    persistor.save(single(1))
    persistor.save(single(2), "best")

    assert sorted(path.name for path in (folder / "models").iterdir()) == ["best_server.npy", "server.npy"]
    assert np.load(folder / "models" / "best_server.npy").tolist() == [2]


def test_a_model_that_grows_replaces_the_file_of_the_other_form(folder: Path) -> None:
    persistor = NPModelPersistor()
    persistor.save(single(1))
    persistor.save(several())

    assert [path.name for path in (folder / "models").iterdir()] == ["server.npz"]
    assert persistor.load() == several()


def test_the_initial_model_may_lie_in_the_app(folder: Path) -> None:
    (folder / "app" / "models").mkdir(parents=True)
    np.save(folder / "app" / "models" / "server.npy", np.array([4, 2], np.float32))

    assert NPModelPersistor().load() == single(4, 2)


def test_numpy_reads_the_archive(folder: Path) -> None:
    with np.load(NPModelPersistor().save(several())) as archive:
        assert archive["a/b"] == 4


def test_objects_are_never_loaded(folder: Path) -> None:
    (folder / "models").mkdir()
    np.save(folder / "models" / "server.npy", np.array([{}], dtype=object), allow_pickle=True)

    with pytest.raises(NumpyFileUnreadable, match=r"SD-3051.*server\.npy.*wanted arrays of numbers"):
        NPModelPersistor().load()


def test_a_damaged_file_is_named(folder: Path) -> None:
    (folder / "models").mkdir()
    (folder / "models" / "server.npz").write_bytes(b"PK\x03\x04 and nothing more")

    with pytest.raises(NumpyFileUnreadable, match=r"server\.npz"):
        NPModelPersistor().load()


def test_types_that_numpy_cannot_write_are_refused_and_leave_nothing(folder: Path) -> None:
    with pytest.raises(NotANumpyType, match=r"tensor w: .*got bfloat16"):
        NPModelPersistor().save(Shareable(Kind.WEIGHTS, {"w": np.zeros(1, ml_dtypes.bfloat16)}))

    assert list((folder / "models").iterdir()) == []


def test_the_locator_finds_what_was_saved() -> None:
    locator, persistor = NPModelLocator(), NPModelPersistor()
    assert locator.names() == []

    persistor.save(single(1))
    persistor.save(single(2), "best")

    assert locator.names() == ["server", "server_best"]
    assert locator.locate("server_best") == single(2)


def test_an_unknown_model_is_refused() -> None:
    NPModelPersistor().save(single(1))

    with pytest.raises(NoSuchNumpyModel, match="no model 'sever'; did you mean 'server'"):
        NPModelLocator().locate("sever")
