"""Does the house keep its own rules? Sizes, forbidden calls, imports, the face, a page for every error."""

from __future__ import annotations

import ast
import functools
import importlib.util
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import sundog
from sundog.kernel.errors import paragraph

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("kernel", "transports", "components", "workflows", "kits")
SOURCES = sorted([ROOT / "__init__.py", *(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))])


@functools.cache
def parsed() -> list[tuple[str, ast.AST]]:
    """Each of our files, as its path from the root, with each node of its syntax tree."""
    trees = {str(path.relative_to(ROOT)): ast.parse(path.read_text(encoding="utf-8")) for path in SOURCES}
    return [(file, node) for file, tree in trees.items() for node in ast.walk(tree)]


def load(name: str, path: Path) -> ModuleType:
    """Run a file of the tree as a module with a name of our choice."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- sizes ---


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def test_a_file_has_at_most_500_lines() -> None:
    assert [f"{path}: {lines(path)}" for path in SOURCES if lines(path) > 500] == []


def lines_of_code(path: Path) -> int:
    """Lines that hold code: no blanks, no comments, no docstrings (docs/decisions/0003)."""
    text = path.read_text(encoding="utf-8")
    prose = {
        number
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for number in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    rows = enumerate(text.splitlines(), start=1)
    return sum(1 for number, row in rows if number not in prose and row.strip() and not row.strip().startswith("#"))


def test_the_kernel_has_at_most_2500_lines_of_code() -> None:
    sizes = {path.name: lines_of_code(path) for path in (ROOT / "kernel").rglob("*.py")}

    assert sum(sizes.values()) <= 2500, sizes


def test_a_function_has_at_most_40_lines_below_its_docstring() -> None:
    functions = [(file, node) for file, node in parsed() if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]

    assert [f"{file}:{node.lineno} {node.name}" for file, node in functions if body_lines(node) > 40] == []


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[min(ast.get_docstring(function) is not None, len(function.body) - 1)]
    return (function.end_lineno or 0) - first.lineno + 1


def test_every_folder_with_code_is_a_package() -> None:
    assert {path.parent for path in SOURCES if not (path.parent / "__init__.py").is_file()} == set()


def test_every_file_opens_with_the_question_it_answers() -> None:
    assert [str(path) for path in SOURCES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


# --- who imports whom ---

KNOW_EACH_OTHER = {
    *(f"kits/server/{name}.py" for name in ("server", "site_events")),
    *(f"kits/site/{name}.py" for name in ("site", "server_events")),
}
"""A daemon, and those who answer for it: they name its class for type checkers."""


def test_files_import_each_other_in_no_circle() -> None:
    """Imports for type checkers count: who needs a circle there does not say which part of the other it needs."""
    graph = {path: set(imported_files(path)) for path in SOURCES if path.parent != ROOT}

    circling = {str(path.relative_to(ROOT)) for path in graph if path in reached_from(path, graph)}

    assert circling == KNOW_EACH_OTHER


def imported_files(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            place = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
            named = [place.with_suffix(".py"), *(place / f"{alias.name}.py" for alias in node.names)]
            yield from (file for file in named if file.is_file())


def reached_from(start: Path, graph: dict[Path, set[Path]]) -> set[Path]:
    reached: set[Path] = set()
    waiting = set(graph[start])
    while waiting:
        reached |= waiting
        waiting = {after for file in waiting for after in graph.get(file, ())} - reached
    return reached


# --- what nobody may do ---

FORBIDDEN_IMPORTS = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load", "time.sleep", "asyncio.sleep"}
BACK_OFF = "backoff"  # the one helper that may sleep has this in its file's name
NAMED_AFTER = {"torch": "torch", "zmq": "zeromq", "grpc": "grpc", "tensorboard": "tensorboard", "sklearn": "sklearn"}


def test_nothing_is_unpickled_or_evaluated_and_nobody_sleeps() -> None:
    found = [(file, word) for file, node in parsed() for word in forbidden(node)]

    assert [(file, word) for file, word in found if not (word.startswith("asyncio.sleep") and BACK_OFF in file)] == []


def forbidden(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Import | ast.ImportFrom):
        yield from FORBIDDEN_IMPORTS & imported(node)
    if isinstance(node, ast.Call):
        yield from (f"{what} in line {node.lineno}" for what in forbidden_call(node))


def forbidden_call(node: ast.Call) -> Iterator[str]:
    called = ast.unparse(node.func)
    arguments = {word.arg: ast.unparse(word.value) for word in node.keywords}
    if called in FORBIDDEN_CALLS:
        yield called
    if arguments.get("shell") == "True":
        yield "shell=True"
    if called == "torch.load" and arguments.get("weights_only") != "True":
        yield "torch.load without weights_only=True"


def imported(node: ast.Import | ast.ImportFrom) -> set[str]:
    """The top-level packages an import statement names; none for a relative one."""
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""] * (node.level == 0)
    return {name.partition(".")[0] for name in names}


@pytest.mark.parametrize(
    ("code", "word"),
    [
        ("import pickle", "pickle"),
        ("from marshal import loads", "marshal"),
        ("eval('1')", "eval in line 1"),
        ("run('ls', shell=True)", "shell=True in line 1"),
        ("torch.load(path)", "torch.load without weights_only=True in line 1"),
        ("time.sleep(1)", "time.sleep in line 1"),
    ],
)
def test_a_forbidden_call_would_be_found(code: str, word: str) -> None:
    assert [found for node in ast.walk(ast.parse(code)) for found in forbidden(node)] == [word]


def test_a_heavy_library_is_imported_only_in_the_file_named_after_it() -> None:
    typing_only = {id(node) for _, block in parsed() if is_for_type_checkers(block) for node in ast.walk(block)}
    imports = [(file, node) for file, node in parsed() if isinstance(node, ast.Import | ast.ImportFrom) and id(node) not in typing_only]
    strays = [f"{file}:{node.lineno} {name}" for file, node in imports for name in imported(node) if NAMED_AFTER.get(name, "") not in file]

    assert strays == []


def is_for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"


# --- imports ---


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_refuses_to_be_a_top_level_package(folder: str) -> None:
    with pytest.raises(ImportError, match=rf"import sundog\.{folder} instead of {folder}"):
        load(folder, ROOT / folder / "__init__.py")


def test_importing_sundog_loads_nothing_but_its_face() -> None:
    code = "import sys; before = set(sys.modules); import sundog; print(sorted(set(sys.modules) - before))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    strangers = ["numpy", "torch", "zmq", "grpc", "msgspec", "pluggy", "sundog.kernel"]

    assert [name for name in strangers if f"'{name}" in loaded] == []


# --- the face ---


def homes() -> dict[str, str]:
    return dict(vars(sundog)["_HOMES"])


def test_the_face_tells_type_checkers_what_it_hands_out() -> None:
    tree = ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))
    typed = {
        alias.asname: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
        if alias.name == alias.asname
    }

    assert typed == homes()


@pytest.mark.parametrize("name", homes())
def test_a_public_name_is_there(name: str) -> None:
    assert name in dir(sundog)
    assert getattr(sundog, name) is getattr(importlib.import_module(f"sundog.{homes()[name]}"), name)


def test_a_misspelt_public_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="'sundog' has no attribute 'Shareble'"):
        _ = vars(sundog)["__getattr__"]("Shareble")


def test_the_face_loaded_once_more_hands_out_the_same_classes() -> None:
    again = load("face_again", ROOT / "__init__.py")

    assert again.SundogError is sundog.SundogError


# --- errors ---


def generator() -> ModuleType:
    return load("generate_error_pages", ROOT / "docs" / "errors" / "generate.py")


def test_every_error_code_is_used_once() -> None:
    codes = Counter(kind.code for kind in generator().error_classes())

    assert {code for code, times in codes.items() if times > 1} == set()


def test_every_error_says_its_cause_and_its_cure() -> None:
    kinds = generator().error_classes()

    assert [kind.__qualname__ for kind in kinds if not (paragraph(kind, "Cause") and paragraph(kind, "Cure"))] == []


def test_every_error_has_an_up_to_date_page() -> None:
    """The pages are written by `make errors`."""
    folder = ROOT / "docs" / "errors"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}

    assert written == generator().pages(), "run `make errors`"
