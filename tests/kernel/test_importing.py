"""What does a dotted name stand for?"""

from pathlib import Path

import pytest

from sundog.kernel.importing import AttributeMissing, ImportBroke, LibraryMissing, MalformedTarget, ModuleMissing, import_class


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", ["collections:OrderedDict", "collections.OrderedDict"])
def test_both_forms_name_a_class(path: str) -> None:
    assert import_class(path).__name__ == "OrderedDict"


@pytest.mark.parametrize("path", ["", "json", "a b:C", "a:", ":C", "a.b.:C", "../x.Y", "a-b.C"])
def test_what_cannot_be_a_class_path_is_refused(path: str) -> None:
    with pytest.raises(MalformedTarget, match=r"wanted package.module.Class"):
        import_class(path)


def test_a_missing_module_is_named() -> None:
    with pytest.raises(ModuleMissing, match=r"there is no module sundog_nowhere"):
        import_class("sundog_nowhere.part.Class")


def test_a_missing_class_comes_with_a_suggestion() -> None:
    with pytest.raises(AttributeMissing, match=r"wanted class OrderdDict in module collections.*did you mean 'OrderedDict'"):
        import_class("collections:OrderdDict")


def test_a_function_is_no_class() -> None:
    with pytest.raises(AttributeMissing, match=r"got a builtin_function_or_method|got a function"):
        import_class("os:system")


def test_a_library_missing_inside_the_module_is_not_masked(package: Path) -> None:
    (package / "needs_much_h3.py").write_text("import sundog_not_there.deep\nclass Thing: ...\n")

    with pytest.raises(LibraryMissing, match=r"module needs_much_h3 imports sundog_not_there, which is not installed"):
        import_class("needs_much_h3.Thing")


def test_a_missing_library_of_ours_names_its_extra(package: Path) -> None:
    (package / "needs_dp_h3.py").write_text("raise ModuleNotFoundError('no', name='opacus.grad_sample')\n")

    with pytest.raises(LibraryMissing) as caught:
        import_class("needs_dp_h3.Thing")

    assert caught.value.cure == 'pip install "sundog[dp]"'


def test_a_missing_library_that_we_need_names_its_package(package: Path) -> None:
    (package / "needs_zmq_h3.py").write_text("raise ModuleNotFoundError('no', name='zmq.asyncio')\n")

    with pytest.raises(LibraryMissing) as caught:
        import_class("needs_zmq_h3.Thing")

    assert caught.value.cure == "pip install pyzmq"


def test_code_written_for_flare_is_told_to_be_ported_not_to_install_it(package: Path) -> None:
    (package / "of_flare_h3.py").write_text("raise ModuleNotFoundError('no', name='nvflare')\n")

    with pytest.raises(LibraryMissing) as caught:
        import_class("of_flare_h3.Thing")

    assert caught.value.cure.startswith("port the code to Sundog's roles")


def test_a_module_that_raises_is_shown_with_its_line(package: Path) -> None:
    (package / "broken_h3.py").write_text("x = 1\nx.wrong\n")

    with pytest.raises(ImportBroke, match=r"raised AttributeError: .*broken_h3\.py:2\)"):
        import_class("broken_h3:Thing")
