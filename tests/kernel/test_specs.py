"""Which components does a config file describe, and do they fit together?"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Annotated, Any, Literal, cast

import pytest

from sundog.kernel.context import Context, RunAborted
from sundog.kernel.findings import Findings, SpecErrors, UnknownKey
from sundog.kernel.hookspecs import register
from sundog.kernel.importing import ModuleMissing
from sundog.kernel.plugins import Plugins
from sundog.kernel.roles import Aggregator, Filter, Persistor
from sundog.kernel.shareable import Shareable
from sundog.kernel.spec_reader import scalars
from sundog.kernel.specs import Components, ConstructorRaised
from sundog.kernel.tasks import Result

made: list[str] = []
"""What was constructed, in order."""


class Mean(Aggregator):
    def __init__(self, expected_data_kind: Literal["WEIGHTS", "WEIGHT_DIFF"] = "WEIGHTS", rate: float = 1.0) -> None:
        made.append("Mean")
        self.kind, self.rate = expected_data_kind, rate

    def aggregate(self, results: Sequence[Result]) -> Shareable:  # type: ignore[override]
        raise NotImplementedError


class Unfinished(Aggregator):
    """It has not got what its role demands."""


class Keeper(Persistor):
    def __init__(self, model: Any = None, name: str = "model.pt") -> None:
        made.append("Keeper")
        self.model, self.name = model, name

    def load(self) -> Shareable:
        raise NotImplementedError

    def save(self, model: Shareable, name: str = "") -> None:
        raise NotImplementedError


class Net:
    def __init__(self, width: int = 8) -> None:
        made.append("Net")
        self.width, self.noise = width, random.random()


class Gather:
    def __init__(self, aggregator: Aggregator, persistor: Persistor | None = None, num_rounds: int = 5) -> None:
        made.append("Gather")
        self.aggregator, self.persistor, self.num_rounds = aggregator, persistor, num_rounds


class Chain:
    def __init__(self, filters: list[Filter], other: Chain | None = None) -> None:
        self.filters, self.other = filters, other


class MedianFilter(Filter):
    def process(self, shareable: Shareable, ctx: Context) -> Shareable:
        raise NotImplementedError


class MedianAggregator(Mean):
    def __init__(self, inner: Aggregator | None = None, first: Annotated[Filter, "any"] | None = None) -> None:
        self.inner, self.first = inner, first


class Pair:
    def __init__(self, other: Pair) -> None:
        self.other = other


class Raises:
    def __init__(self, how: str = "user") -> None:
        if how == "abort":
            raise RunAborted("stop")
        raise ValueError("no disk")


class HoldsId:
    def __init__(self, aggregator_id: str) -> None:
        self.aggregator_id = aggregator_id


@register
def sundog_aggregators(add: Callable[..., None]) -> None:
    add("Mean", "spec_parts:Mean")
    add("Median", "spec_parts:MedianAggregator")


@register
def sundog_filters(add: Callable[..., None]) -> None:
    add("Median", "spec_parts:MedianFilter")


@register
def sundog_workflows(add: Callable[..., None]) -> None:
    add("Gather", "spec_parts:Gather")


@register
def sundog_aliases(add: Callable[..., None]) -> None:
    add("nvflare.app_common.aggregators.InTimeMean", "Mean", ignored=("exclude_vars",), renamed={"speed": "rate"})
    add("nvflare.app_common.widgets.ConvertToFedEvent", "")
    add("nvflare.app_common.Middle", "Median")
    add("nvflare.app_common.workflows.Cyclic", "", instead="write it in custom/")
    add("nvflare.", "", instead="see docs/plugins.md")


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> Plugins:
    module = ModuleType("spec_parts")
    for thing in (Mean, MedianFilter, MedianAggregator, Keeper, Net, Gather, Chain, Pair, Raises, HoldsId):
        setattr(module, thing.__name__, thing)
    for hook in (sundog_aggregators, sundog_filters, sundog_workflows, sundog_aliases):
        setattr(module, hook.__name__, hook)
    monkeypatch.setitem(sys.modules, "spec_parts", module)
    made.clear()
    return Plugins(["spec_parts"], entry_points=(), blocked=())


def spec(name: str, label: str = "", /, **args: Any) -> dict[str, Any]:
    key = {"name": name} if name in ("Mean", "Gather") else {"path": name if "." in name else f"spec_parts.{name}"}
    return {**({"id": label} if label else {}), **key, "args": args}


def components(parts: Plugins, *specs: Any, **options: Any) -> Components:
    found = Components(parts, file="a/server.json", **options)
    for index, each in enumerate(specs):
        found.add(each, f"components[{index}]", has_id=True)
    return found


def mistakes(found: Components) -> list[str]:
    return [str(error) for error in found.check()]


def test_components_are_built_by_id_from_name_and_path(parts: Plugins) -> None:
    """T043, T044: id, path, name and args."""
    built = components(parts, spec("Mean", "aggregator", rate=2), spec("Keeper", "persistor", name="x.pt")).build_all()

    assert list(built) == ["aggregator", "persistor"]
    assert isinstance(built["aggregator"], Mean)
    assert isinstance(built["persistor"], Keeper)
    assert (built["aggregator"].rate, built["persistor"].name) == (2.0, "x.pt")


def test_nested_specs_are_built(parts: Plugins) -> None:
    """T043: nested specs built."""
    built = components(parts, spec("Keeper", "p", model=spec("Net", width=3))).build_all()["p"]

    assert isinstance(built, Keeper)
    assert isinstance(built.model, Net)
    assert built.model.width == 3


def test_checking_constructs_nothing(parts: Plugins) -> None:
    found = components(parts, spec("Mean", "a"), spec("Gather", "g", aggregator={"ref": "a"}))

    assert mistakes(found) == []
    assert made == []


def test_a_reference_may_come_before_its_component_and_each_is_built_once(parts: Plugins) -> None:
    found = components(parts, spec("Gather", "g", aggregator={"ref": "a"}), spec("Gather", "h", aggregator={"ref": "a"}), spec("Mean", "a"))

    built = found.build_all()

    assert isinstance(built["g"], Gather)
    assert isinstance(built["h"], Gather)
    assert built["g"].aggregator is built["h"].aggregator is built["a"]
    assert made == ["Mean", "Gather", "Gather"]


def test_flares_id_arguments_fill_role_typed_parameters(parts: Plugins) -> None:
    found = components(parts, spec("Mean", "agg"), spec("Keeper", "p"), spec("Gather", "g", aggregator_id="agg", pt_persistor_id="p"))

    built = found.build_all()

    assert isinstance(built["g"], Gather)
    assert (built["g"].aggregator, built["g"].persistor) == (built["agg"], built["p"])


def test_a_constructor_that_takes_the_id_itself_gets_the_text(parts: Plugins) -> None:
    built = components(parts, spec("HoldsId", "h", aggregator_id="agg")).build_all()["h"]

    assert isinstance(built, HoldsId)
    assert built.aggregator_id == "agg"


def test_variables_are_filled_with_their_type(parts: Plugins) -> None:
    """T043: `{var}` filled from the file's first-level scalars."""
    document = {"rounds": 3, "kind": "best", "components": []}
    found = components(parts, spec("Keeper", "p", model="{rounds}", name="{kind}-{rounds}-{{step}}.pt"), variables=scalars(document))

    built = found.build_all()["p"]

    assert isinstance(built, Keeper)
    assert (built.model, built.name) == (3, "best-3-{step}.pt")
    assert found.variables_read == {"rounds", "kind"}


def test_a_disabled_component_is_left_out(parts: Plugins) -> None:
    found = components(parts, {**spec("Mean", "a"), "disabled": True}, spec("Keeper", "p"))

    assert list(found.build_all()) == ["p"]


def test_an_alias_stands_for_ours_with_renamed_and_ignored_arguments(parts: Plugins) -> None:
    found = components(parts, spec("nvflare.app_common.aggregators.InTimeMean", "a", speed=3, exclude_vars="x"))

    built = found.build_all()["a"]

    assert isinstance(built, Mean)
    assert built.rate == 3.0
    assert found.findings.notes == ["a/server.json: components[0].args.exclude_vars: an argument of FLARE 2.1 that is not needed here"]


def test_what_is_not_needed_here_gives_a_note(parts: Plugins) -> None:
    found = components(parts, {"id": "c", "name": "ConvertToFedEvent", "args": {"events_to_convert": ["x"]}})

    assert found.build_all() == {}
    assert found.findings.notes == ["a/server.json: components[0]: ConvertToFedEvent is not needed here"]


def test_each_constructor_is_prepared_for(parts: Plugins) -> None:
    """The runtime seeds in `prepare`: what a constructor draws depends on its own label only."""
    specs = [spec("Keeper", "p", model=spec("Net")), spec("Net", "n")]

    one = components(parts, *specs, prepare=random.seed).build_all()
    other = components(parts, specs[1], specs[0], prepare=random.seed)
    labels: list[str] = []
    components(parts, *specs, prepare=labels.append).build_all()

    assert isinstance(one["n"], Net)
    assert one["n"].noise == other.build_all()["n"].noise  # type: ignore[attr-defined]
    assert labels == ["components[0].args.model", "p", "n"]


def test_all_instances_are_known_by_label(parts: Plugins) -> None:
    found = components(parts, spec("Keeper", "p", model=spec("Net")), spec("Chain", "c", filters=[{**spec("Net"), "disabled": True}]))
    found.add(spec("Net", "p"), "workflows[0]")

    built = found.build_all()

    assert {label: type(instance).__name__ for label, instance in found.instances.items()} == {
        "components[0].args.model": "Net",
        "p": "Keeper",
        "c": "Chain",
    }
    assert built["c"].filters == []  # type: ignore[attr-defined]


def test_a_workflow_is_built_apart_from_the_components(parts: Plugins) -> None:
    found = components(parts, spec("Mean", "a"))
    planned = found.add(spec("Gather", aggregator_id="a"), "workflows[0]", Gather)

    built = found.build_all()

    assert planned is not None
    assert found.build(planned).aggregator is built["a"]  # type: ignore[attr-defined]


BROKEN: list[tuple[list[Any], list[str]]] = [
    ([3], ["components[0]: wanted an object with name or path, got int"]),
    ([{"id": "a"}], ['components[0]: wanted either "name" or "path", got neither']),
    ([{"id": "a", "name": "Mean", "path": "x.Y"}], ['components[0]: wanted either "name" or "path", got both']),
    ([{"id": "a", "nmae": "Mean"}], ["components[0].nmae: nobody reads the key 'nmae'; did you mean 'name'?"]),
    ([{"id": "a", "name": "Mean", "arg": {}}], ["components[0].arg: nobody reads the key 'arg'; did you mean 'args'?"]),
    ([{"id": "a", "name": "Mean", "args": []}], ["components[0].args: wanted an object, got []"]),
    ([{"id": "a", "name": "Mean", "disabled": "no"}], ["components[0].disabled: wanted true or false, got 'no'"]),
    ([{"id": "a", "name": 7}], ["components[0].name: wanted a string, got 7"]),
    ([spec("Mean")], ["components[0].id: wanted an id of up to 63 letters, digits and . _ -, got None"]),
    ([spec("Mean", "../a")], ["components[0].id: wanted an id of up to 63 letters, digits and . _ -, got '../a'"]),
    ([spec("Mean", "a"), spec("Mean", "a")], ["components[1].id: another component has the id 'a'"]),
    ([{"id": "a", "name": "Maen"}], ["components[0].name: no plugin has registered a component 'Maen'; did you mean 'Mean'?"]),
    ([spec("nowhere.Thing", "a")], ["components[0].path: there is no module nowhere"]),
    ([spec("Keper", "a")], ["components[0].path: wanted class Keper in module spec_parts, got no such name; did you mean 'Keeper'?"]),
    ([spec("no class", "a")], ["components[0].path: wanted package.module.Class or package.module:Class, got 'spec_parts.no class'"]),
    ([spec("Mean", "a", rat=1)], ["components[0].args.rat: Mean has no argument 'rat'; did you mean 'rate'?"]),
    ([spec("Mean", "a", rate="fast")], ['components[0].args.rate: wanted float, got "fast"']),
    ([spec("Mean", "a", rate=None)], ["components[0].args.rate: wanted float, got null"]),
    ([spec("Mean", "a", rate=[1])], ["components[0].args.rate: wanted float, got [1]"]),
    ([spec("Mean", "a", expected_data_kind="WEIGHT")], ['expected_data_kind: wanted one of "WEIGHTS", "WEIGHT_DIFF", got "WEIGHT"']),
    ([spec("Gather", "g")], ["components[0].args: Gather needs the argument 'aggregator'"]),
    ([spec("Gather", "g", aggregator_id="a")], ["components[0].args.aggregator_id: the component 'a' does not exist; there is g"]),
    (
        [spec("Mean", "agg"), spec("Gather", "g", aggregator={"ref": "aggr"})],
        ["components[1].args.aggregator: the component 'aggr' does not exist; did you mean 'agg'?"],
    ),
    (
        [spec("Keeper", "p"), spec("Gather", "g", aggregator={"ref": "p"})],
        ["components[1].args.aggregator: wanted an Aggregator", "got a Keeper"],
    ),
    ([spec("Gather", "g", aggregator="agg")], ["components[0].args.aggregator: wanted an Aggregator", 'got "agg"']),
    (
        [spec("Mean", "a"), spec("Gather", "g", aggregator_id="a", aggregator={"ref": "a"})],
        ["components[1].args.aggregator: gives the argument 'aggregator' that 'aggregator_id' gives as well"],
    ),
    (
        [{**spec("Mean", "a"), "disabled": True}, spec("Gather", "g", aggregator_id="a")],
        ["components[1].args.aggregator_id: the component 'a' is disabled or not needed here"],
    ),
    (
        [spec("Keeper", "p", model=spec("Net", widht=3))],
        ["components[0].args.model.args.widht: Net has no argument 'widht'; did you mean 'width'?"],
    ),
    ([spec("Keeper", "p", model=[spec("Net", width="w")])], ['components[0].args.model[0].args.width: wanted int, got "w"']),
    ([spec("Pair", "x", other_id="y"), spec("Pair", "y", other_id="x")], ["components[0]: x is needed by y is needed by x"]),
    ([spec("Pair", "x", other=spec("Pair", other={"ref": "x"}))], ["components[0]: x is needed by x"]),
    ([spec("Chain", "c", filters=[spec("Net")])], ["components[0].args.filters[0]: wanted a Filter", "got a Net"]),
    ([spec("Keeper", "p", name="{knid}.pt")], ["components[0].args.name: there is no variable 'knid'; did you mean 'kind'?"]),
]


@pytest.mark.parametrize(("specs", "messages"), BROKEN, ids=[messages[0][:60] for _, messages in BROKEN])
def test_a_broken_spec_is_refused_with_place_wanted_got_and_suggestion(parts: Plugins, specs: list[Any], messages: list[str]) -> None:
    """T043: duplicate id, unknown key, wrong type … refused with file, JSON path and a "did you mean"."""
    found = mistakes(components(parts, *specs, variables={"kind": "best"}))

    for message in messages:
        assert any(message in mistake and "a/server.json: " in mistake for mistake in found), found
    assert made == []


def test_all_mistakes_come_at_once(parts: Plugins) -> None:
    found = components(parts, spec("Mean", "a", rat=1, rate="x"), spec("Mean", "a"), spec("Gather", "g", aggregator_id="b"))

    with pytest.raises(SpecErrors) as caught:
        found.build_all()

    places = [error.where for error in caught.value.findings]
    assert places == [f"a/server.json: components[{place}" for place in ("0].args.rat", "1].id", "0].args.rate", "2].args.aggregator_id")]
    assert str(caught.value).startswith("[SD-1101] 4 mistakes:\n  [SD-1102] a/server.json: components[0].args.rat: Mean has no argument")


def test_one_mistake_alone_comes_as_itself(parts: Plugins) -> None:
    """Its own code and cure, not those of a list."""
    with pytest.raises(UnknownKey) as caught:
        components(parts, spec("Mean", "a", rat=1)).build_all()

    assert caught.value.where == "a/server.json: components[0].args.rat"


def test_an_unknown_variable_is_told_once_and_not_as_a_wrong_value_too(parts: Plugins) -> None:
    """What it would have been is not known."""
    found = components(parts, spec("Mean", "a", rate="{rat}"), spec("Gather", "g", aggregator_id="a"))

    assert [error.code for error in found.check()] == ["SD-1107"]


def test_a_class_that_lacks_a_method_of_its_role_is_found_before_it_is_made(parts: Plugins) -> None:
    """Nobody is shown the line of ours that would have made it."""
    found = components(parts, {"id": "a", "path": f"{__name__}.Unfinished"})

    assert [str(error) for error in found.check()] == [
        f"[SD-1106] a/server.json: components[0]: {__name__}.Unfinished cannot be made: it lacks aggregate"
    ]


def test_a_mistake_is_told_once_and_not_again_where_the_component_is_referred_to(parts: Plugins) -> None:
    found = components(parts, spec("Maen.x", "a"), spec("Gather", "g", aggregator_id="a"))

    assert [error.code for error in found.check()] == ["SD-1008"]


def test_checking_twice_finds_the_same(parts: Plugins) -> None:
    found = components(parts, spec("Mean", "a", rat=1, rate="x"))

    assert mistakes(found) == mistakes(found)


def test_a_component_of_another_role_is_refused(parts: Plugins) -> None:
    found = components(parts)

    found.add(spec("Net"), "filters[0]", Filter)

    (mistake,) = mistakes(found)
    assert mistake.startswith("[SD-1106] a/server.json: filters[0]: wanted a Filter, got ")


def test_a_policy_may_refuse_a_class_before_it_is_imported(parts: Plugins) -> None:
    def never(path: str) -> type:
        raise ModuleMissing(f"{path} is not allowed here")

    assert "os.system is not allowed here" in mistakes(components(parts, spec("os.system", "a"), find=never))[0]


def test_a_constructor_that_raises_is_named_with_its_line(parts: Plugins) -> None:
    with pytest.raises(
        ConstructorRaised, match=r"a/server.json: components\[0\]: Raises raised ValueError: no disk \(.*test_specs.py:\d+\)"
    ):
        components(parts, spec("Raises", "r")).build_all()


def test_a_coded_error_of_a_constructor_comes_as_it_is(parts: Plugins) -> None:
    with pytest.raises(RunAborted, match=r"a/server.json: components\[0\]: stop"):
        components(parts, spec("Raises", "r", how="abort")).build_all()


def test_unread_keys_of_a_file_are_refused_and_flares_noted() -> None:
    found = Findings("config_fed_server.json")

    found.check_keys({"workflow": [], "server": {}}, ["workflows", "components"], "", {"server": "links have heartbeats of their own"})

    assert [str(error) for error in found.errors] == [
        "[SD-1102] config_fed_server.json: workflow: nobody reads the key 'workflow'; did you mean 'workflows'?"
    ]
    assert found.notes == ["config_fed_server.json: server: not needed here: links have heartbeats of their own"]


def test_specs_come_from_json_text(parts: Plugins) -> None:
    document = json.loads('{"kind": "WEIGHTS", "components": [{"id": "a", "name": "Mean", "args": {"expected_data_kind": "{kind}"}}]}')
    found = components(parts, *document["components"], variables=scalars(document))

    assert isinstance(found.build_all()["a"], Mean)


# --- one name in two roles ---

MEDIAN = {"name": "Median"}


@pytest.mark.parametrize("median", [MEDIAN, {"name": "Middle"}, {"path": "nvflare.app_common.Middle"}])
def test_at_a_typed_place_its_role_decides_what_a_name_means(parts: Plugins, median: dict[str, Any]) -> None:
    gather = spec("Gather", "gather", aggregator=median | {"args": {"inner": median, "first": median}})
    found = components(parts, gather, spec("Chain", "chain", filters=[median]))

    assert mistakes(found) == []
    built = found.build_all()

    outer, chain = cast("Any", built["gather"]).aggregator, cast("Chain", built["chain"])
    assert type(outer) is type(outer.inner) is MedianAggregator
    assert type(outer.first) is type(chain.filters[0]) is MedianFilter


def test_a_caller_may_want_a_role_as_well(parts: Plugins) -> None:
    found = Components(parts, file="a/server.json")

    planned = [found.add(MEDIAN, "aggregator", Aggregator), found.add(MEDIAN, "filters[0]", Filter)]

    assert [each.kind for each in planned if each] == [MedianAggregator, MedianFilter]


def test_among_the_components_a_name_of_two_roles_is_ambiguous(parts: Plugins) -> None:
    found = components(parts, MEDIAN | {"id": "median"})

    (mistake,) = found.check()
    assert "components[0].name: 'Median' may mean spec_parts:MedianAggregator (aggregators" in str(mistake)
    assert mistake.cure.endswith('write "path": "spec_parts.MedianAggregator" or "spec_parts.MedianFilter"')


def test_a_place_of_another_role_says_what_a_name_means(parts: Plugins) -> None:
    (mistake,) = mistakes(components(parts, spec("Gather", "gather", aggregator={"name": "Mean"}, persistor=MEDIAN)))

    assert mistake.startswith("[SD-1004] a/server.json: components[0].args.persistor.name: 'Median' may mean")


# --- classes of FLARE ---


@pytest.mark.parametrize(
    ("named", "cure"),
    [
        ({"path": "nvflare.app_common.workflows.Cyclic"}, "write it in custom/"),
        ({"name": "Cyclic"}, "write it in custom/"),
        ({"path": "nvflare.app_opt.x.Thing"}, "see docs/plugins.md"),
    ],
)
def test_a_class_without_counterpart_is_named_as_such(parts: Plugins, named: dict[str, Any], cure: str) -> None:
    (key,) = named
    (mistake,) = components(parts, {"id": "it", **named}).check()

    name = named[key].rpartition(".")[2]
    assert str(mistake) == f"[SD-1071] a/server.json: components[0].{key}: FLARE's {name} has no counterpart in Sundog yet"
    assert mistake.cure == cure
