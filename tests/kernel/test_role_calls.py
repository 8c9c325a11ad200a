"""Role calls on components that the runtime built are reported to the observers, once each."""

from __future__ import annotations

import copy
import pickle
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from sundog.kernel.context import Context, RoleCalls, entered
from sundog.kernel.errors import Failure
from sundog.kernel.hookspecs import observe
from sundog.kernel.observers import Observers
from sundog.kernel.roles import Aggregator, ModelUpdate, Persistor
from sundog.kernel.shareable import Kind, NotAShareable, Shareable
from sundog.kernel.tasks import Result


def model(number: float) -> Shareable:
    return Shareable(Kind.WEIGHTS, {"w": [number]})


class Total(Aggregator):
    def __init__(self, offset: float = 0) -> None:
        self.offset = offset

    def aggregate(self, results: Iterable[Result]) -> Shareable:
        return model(self.offset + sum(result.shareable.tensors["w"][0] for result in results))


class Watch:
    """Notes hooks with what they say."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.after_saving: Callable[[], object] = lambda: None

    @observe
    def initial_model_loaded(self, model: Shareable) -> None:
        self.lines.append(f"loaded {model.tensors['w'][0]:g}")

    @observe
    def before_aggregation(self, workflow: str, step: int) -> None:
        self.lines.append(f"before {workflow} {step}")

    @observe
    def after_aggregation(self, step: int, aggregate: Shareable) -> None:
        self.lines.append(f"after {step}: {aggregate.tensors['w'][0]:g}")

    @observe
    def model_updated(self, model: Shareable) -> None:
        self.lines.append(f"updated {model.tensors['w'][0]:g}")

    @observe
    def before_model_saved(self, name: str) -> None:
        self.lines.append(f"saving {name!r}")

    @observe
    def after_model_saved(self, name: str) -> None:
        self.lines.append(f"saved {name!r}")
        self.after_saving()


@dataclass
class Server:
    """A workflow's surroundings in a server's job process."""

    context: Context
    watch: Watch
    observers: Observers

    def builds(self, *components: Any) -> None:
        self.context.role_calls = RoleCalls(components)


@pytest.fixture
def server() -> Iterator[Server]:
    observers, watch = Observers(), Watch()
    observers.register(watch, "watch")
    context = Context(site="server", workflow="sag", step=4, events=observers.events)
    with entered(context):
        yield Server(context, watch, observers)
    assert observers.faults == []


RESULTS = [Result("a", "train", model(1)), Result("b", "train", model(2))]
AGGREGATION = ["before sag 4", "after 4: 3"]


def test_each_role_has_its_hooks(server: Server) -> None:
    class Files(Persistor):
        def load(self) -> Shareable:
            return model(0)

        def save(self, model: Shareable, name: str = "") -> Path | None:
            return Path(f"{name}.npy")

    class Replace(ModelUpdate):
        def apply(self, model: Shareable, aggregate: Shareable) -> Shareable:
            return aggregate

    files, update, total = Files(), Replace(), Total()
    server.builds(files, update, total)

    update.apply(files.load(), total.aggregate(RESULTS))
    files.save(model(3))
    path = files.save(model=model(3), name="best")

    assert path == Path("best.npy")
    assert server.watch.lines == ["loaded 0", *AGGREGATION, "updated 3", "saving ''", "saved ''", "saving 'best'", "saved 'best'"]


def test_a_component_that_the_runtime_did_not_build_is_not_reported(server: Server) -> None:
    server.builds(Total())

    assert Total().aggregate(RESULTS) == model(3)
    assert server.watch.lines == []


def test_outside_of_a_workflow_nothing_is_reported(server: Server) -> None:
    server.context.workflow = ""
    total = Total()
    server.builds(total)

    total.aggregate(RESULTS)

    assert server.watch.lines == []


def test_a_call_of_the_class_above_is_no_second_call(server: Server) -> None:
    class Doubled(Total):
        def aggregate(self, results: Iterable[Result]) -> Shareable:
            return model(2 * super().aggregate(results).tensors["w"][0])

    doubled = Doubled()
    server.builds(doubled)

    doubled.aggregate(RESULTS)

    assert server.watch.lines == ["before sag 4", "after 4: 6"]


def test_of_nested_calls_the_outermost_is_reported(server: Server) -> None:
    class Around(Aggregator):
        def __init__(self, inner: Aggregator) -> None:
            self.inner = inner

        def aggregate(self, results: Iterable[Result]) -> Shareable:
            return model(10 + self.inner.aggregate(results).tensors["w"][0])

    inner = Total()
    around = Around(inner)
    server.builds(inner, around)

    around.aggregate(RESULTS)
    inner.aggregate(RESULTS)

    assert server.watch.lines == ["before sag 4", "after 4: 13", *AGGREGATION]


class Slotted(Total):
    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Frozen(Aggregator):
    offset: float = 0

    def aggregate(self, results: Iterable[Result]) -> Shareable:
        return Total(self.offset).aggregate(results)


class Mixin:
    def aggregate(self, results: Iterable[Result]) -> Shareable:
        return Total().aggregate(results)


class Mixed(Mixin, Aggregator):
    pass


class Static(Aggregator):
    @staticmethod
    def aggregate(results: Iterable[Result]) -> Shareable:
        return Total().aggregate(results)


@pytest.mark.parametrize("kind", [Slotted, Frozen, Mixed, Static])
def test_every_form_of_class_is_reported(server: Server, kind: type[Aggregator]) -> None:
    component = kind()
    server.builds(component)

    assert component.aggregate(RESULTS) == model(3)
    assert server.watch.lines == AGGREGATION


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda it: pickle.loads(pickle.dumps(it))])
def test_a_copy_is_a_component_of_its_own(server: Server, copied: Callable[[Total], Total]) -> None:
    total = Total()
    server.builds(total)

    other = copied(total)
    other.offset = 5

    assert (vars(total), other.aggregate(RESULTS)) == ({"offset": 0}, model(8))
    assert server.watch.lines == []


def test_results_stay_lazy(server: Server) -> None:
    total = Total()
    server.builds(total)

    def arriving() -> Iterator[Result]:
        for result in RESULTS:
            server.watch.lines.append(f"took {result.site}")
            yield result

    total.aggregate(arriving())

    assert server.watch.lines == ["before sag 4", "took a", "took b", "after 4: 3"]


def test_an_error_keeps_its_line_and_the_next_call_is_reported(server: Server) -> None:
    @dataclass
    class Fragile(Total):
        errors: list[Exception] = field(default_factory=list)
        offset: float = 0

        def aggregate(self, results: Iterable[Result]) -> Shareable:
            if self.errors:
                raise self.errors.pop()
            return super().aggregate(results)

    fragile = Fragile([ValueError("too few")])
    server.builds(fragile)

    with pytest.raises(ValueError, match="too few") as raised:
        fragile.aggregate(RESULTS)
    fragile.aggregate(RESULTS)

    assert "test_role_calls.py" in Failure.of(raised.value).where
    assert server.watch.lines == ["before sag 4", *AGGREGATION]


def test_a_forgotten_return_names_the_method(server: Server) -> None:
    class Forgetful(Total):
        def aggregate(self, results: Iterable[Result]) -> Shareable:  # type: ignore[return]
            super().aggregate(results)

    forgetful = Forgetful()
    server.builds(forgetful)

    with pytest.raises(NotAShareable, match=r"Forgetful\.aggregate: wanted a Shareable, got None"):
        forgetful.aggregate(RESULTS)


def test_an_observer_that_saves_is_not_told_of_its_own_call(server: Server) -> None:
    class Files(Persistor):
        def load(self) -> Shareable:
            return model(0)

        def save(self, model: Shareable, name: str = "") -> Path | None:
            return None

    files = Files()
    server.builds(files)
    server.watch.after_saving = lambda: files.save(model(1), "copy")

    files.save(model(1), "best")

    assert server.watch.lines == ["saving 'best'", "saved 'best'"]


def test_a_method_that_stays_abstract_stays_so() -> None:
    class StillAbstract(Aggregator):
        @abstractmethod
        def aggregate(self, results: Iterable[Result]) -> Shareable: ...

    class Unfinished(Aggregator):
        pass

    for kind in (StillAbstract, Unfinished):
        with pytest.raises(TypeError, match="abstract"):
            kind()  # type: ignore[abstract]
