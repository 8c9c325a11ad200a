"""Which plugins are there, and which class does a short name stand for?"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from sundog.kernel.errors import PluginError
from sundog.kernel.hooks import HookSignature, UnknownHook
from sundog.kernel.hookspecs import observe, register
from sundog.kernel.importing import MalformedTarget, ModuleMissing
from sundog.kernel.plugins import HookApiMismatch, NameTaken, NoCounterpart, PluginRaised, Plugins, UnknownName

Add = Callable[..., None]
MakeModule = Callable[..., str]


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> MakeModule:
    """Put a module together from functions; gives its name."""

    def make(name: str, *functions: Callable[..., Any], **attributes: Any) -> str:
        made = ModuleType(name)
        for function in functions:
            setattr(made, function.__name__, function)
        for key, value in attributes.items():
            setattr(made, key, value)
        monkeypatch.setitem(sys.modules, name, made)
        return name

    return make


def plugins(*modules: str, blocked: tuple[str, ...] = ()) -> Plugins:
    return Plugins(modules, entry_points=(), blocked=blocked)


def filters(**classes: str) -> Callable[[Add], None]:
    @register
    def sundog_filters(add: Add) -> None:
        for name, target in classes.items():
            add(name, target)

    return sundog_filters


def test_a_short_name_stands_for_a_class(module: MakeModule) -> None:
    """T044: a short name resolves through the plugin registry."""
    found = plugins(module("alpha", filters(ordered="collections:OrderedDict")))

    assert found.find("filters", "ordered").__name__ == "OrderedDict"
    assert found.resolve("ordered").__name__ == "OrderedDict"


def test_nothing_is_imported_before_it_is_asked_for(module: MakeModule) -> None:
    found = plugins(module("alpha", filters(lazy="sundog_never_there:Thing")))

    assert found.names("filters")["lazy"].target == "sundog_never_there:Thing"
    with pytest.raises(ModuleMissing, match=r"there is no module sundog_never_there"):
        found.find("filters", "lazy")


def test_an_unknown_name_comes_with_a_suggestion(module: MakeModule) -> None:
    found = plugins(module("alpha", filters(ordered="collections:OrderedDict")))

    with pytest.raises(UnknownName, match=r"'orderd' among the filters; did you mean 'ordered'"):
        found.find("filters", "orderd")
    with pytest.raises(UnknownName, match=r"component 'orderd'; did you mean 'ordered'"):
        found.resolve("orderd")


def test_two_plugins_with_one_name_are_both_named(module: MakeModule) -> None:
    """T044: two plugins with the same name give an error that lists both."""
    alpha, beta = module("alpha", filters(mine="collections:OrderedDict")), module("beta", filters(mine="collections:Counter"))

    with pytest.raises(NameTaken, match=r"'mine' among the filters is claimed by alpha .*OrderedDict.* and by beta .*Counter"):
        plugins(alpha, beta)


def executors(**names: str) -> Any:
    @register
    def sundog_executors(add: Add) -> None:
        for name, target in names.items():
            add(name, target)

    return sundog_executors


def test_of_two_roles_with_one_name_the_place_decides(module: MakeModule) -> None:
    found = plugins(module("alpha", filters(twin="collections:OrderedDict"), executors(twin="fractions:Fraction")))

    assert found.find("executors", "twin") is found.resolve("twin", Fraction | None) is Fraction
    assert found.resolve("twin", OrderedDict) is found.resolve("twin", dict) is OrderedDict


@pytest.mark.parametrize("want", [object, int, Any, OrderedDict | Fraction])
def test_one_name_in_two_roles_is_ambiguous_where_both_fit_or_none_does(module: MakeModule, want: Any) -> None:
    found = plugins(module("alpha", filters(twin="collections:OrderedDict"), executors(twin="fractions:Fraction")))

    with pytest.raises(NameTaken, match=r"'twin' may mean .*Fraction .executors, alpha. or .*OrderedDict .filters, alpha.") as raised:
        found.resolve("twin", want)
    assert '"path": "fractions.Fraction" or "collections.OrderedDict"' in raised.value.cure


def test_of_two_roles_with_one_name_the_one_that_cannot_be_imported_does_not_hide_the_other(module: MakeModule) -> None:
    found = plugins(module("alpha", filters(twin="collections:OrderedDict"), executors(twin="no_module_h12:Thing")))

    assert found.resolve("twin", OrderedDict) is OrderedDict
    with pytest.raises(ModuleMissing, match="no_module_h12"):
        found.resolve("twin", Fraction)


def test_specs_cannot_name_a_transport(module: MakeModule) -> None:
    @register
    def sundog_transports(add: Add) -> None:
        add("tcp", "collections:Counter")

    found = plugins(module("alpha", sundog_transports))

    with pytest.raises(UnknownName):
        found.resolve("tcp")


def test_another_hook_api_is_refused(module: MakeModule) -> None:
    """T148: a plugin for hook API 2 on core 1 is refused with a clear text."""
    name = module("alpha", filters(mine="collections:Counter"), hook_api=2)

    with pytest.raises(HookApiMismatch, match=r"'alpha'.* is written for hook API 2; this Sundog has hook API 1"):
        plugins(name)


def test_an_unknown_hook_is_refused(module: MakeModule) -> None:
    """T148: an unknown hook name is an error."""

    @register
    def sundog_filter(add: Add) -> None: ...

    with pytest.raises(UnknownHook, match=r"alpha: sundog_filter: there is no hook sundog_filter; did you mean 'sundog_filters'"):
        plugins(module("alpha", sundog_filter))


def test_an_optional_unknown_hook_is_left_alone(module: MakeModule) -> None:
    @register(optionalhook=True)
    def sundog_of_tomorrow(add: Add) -> None: ...

    assert [plugin.name for plugin in plugins(module("alpha", sundog_of_tomorrow)).listing()] == ["alpha"]


def test_a_wrong_argument_is_named(module: MakeModule) -> None:
    @register
    def sundog_filters(added: Add) -> None: ...

    with pytest.raises(HookSignature, match=r"alpha: sundog_filters: sundog_filters has no argument 'added'; did you mean 'add'"):
        plugins(module("alpha", sundog_filters))


def test_wrappers_and_coroutines_are_refused(module: MakeModule) -> None:
    @register(wrapper=True)
    def sundog_filters(add: Add) -> Any:
        return (yield)

    @register
    async def sundog_executors(add: Add) -> None: ...

    with pytest.raises(HookSignature, match=r"wrapper"):
        plugins(module("alpha", sundog_filters))
    with pytest.raises(HookSignature, match=r"coroutine"):
        plugins(module("beta", sundog_executors))


def test_a_wrong_observer_function_stops_the_start_too(module: MakeModule) -> None:
    @observe
    def step_startd(step: int) -> None: ...

    with pytest.raises(UnknownHook, match=r"alpha: step_startd.*did you mean 'step_started'"):
        plugins(module("alpha", step_startd))


def test_plugins_that_observe_are_told_apart(module: MakeModule) -> None:
    @observe
    def step_started(step: int) -> None: ...

    found = plugins(module("alpha", step_started), module("beta", filters(x="collections:Counter")))

    assert list(found.watchers) == ["alpha"]


def test_a_plugin_that_raises_is_named_with_its_line(module: MakeModule) -> None:
    @register
    def sundog_filters(add: Add) -> None:
        raise ValueError("no luck")

    with pytest.raises(PluginRaised, match=r"plugin alpha: sundog_filters: ValueError: no luck \(.*test_plugins.py:\d+\)"):
        plugins(module("alpha", sundog_filters))


def test_a_malformed_target_names_the_plugin(module: MakeModule) -> None:
    with pytest.raises(MalformedTarget, match=r"plugin alpha: sundog_filters: wanted package.module.Class"):
        plugins(module("alpha", filters(mine="not a class")))


def test_a_plugin_that_cannot_be_imported_is_named() -> None:
    with pytest.raises(PluginError, match=r"plugin sundog_nowhere: sundog_nowhere: there is no module"):
        plugins("sundog_nowhere")


def test_with_all_plugins_blocked_the_core_starts_and_lists_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """T139: nothing is imported, nothing is registered, everything is listed as blocked."""
    monkeypatch.setenv("SUNDOG_BLOCK_PLUGINS", "*")

    found = Plugins()

    assert not [plugin for plugin in found.listing() if not plugin.is_blocked]
    assert found.names("filters") == {}


def test_a_blocked_plugin_is_not_imported(monkeypatch: pytest.MonkeyPatch, module: MakeModule) -> None:
    monkeypatch.setenv("SUNDOG_BLOCK_PLUGINS", "other, sundog_nowhere")

    found = Plugins([module("alpha"), "sundog_nowhere"], entry_points=())

    assert [(plugin.name, plugin.is_blocked) for plugin in found.listing()] == [("alpha", False), ("sundog_nowhere", True)]


def test_an_installed_package_brings_its_plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """T147: an installed distribution with an entry point is listed with name, version and hook API version."""
    install(tmp_path, "sundog-sparkle", "2.5", "sparkle = sparkle_h3_plugin")
    (tmp_path / "sparkle_h3_plugin.py").write_text(
        "from sundog.kernel.hookspecs import register\nhook_api = 1\n"
        "@register\ndef sundog_filters(add):\n    add('sparkle', 'collections:OrderedDict')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)

    (sparkle,) = Plugins([]).listing()

    assert (sparkle.name, sparkle.version, sparkle.hook_api, sparkle.distribution) == ("sparkle", "2.5", 1, "sundog-sparkle")
    assert [(entry.role, entry.name) for entry in sparkle.registrations] == [("filters", "sparkle")]


def test_two_packages_that_call_their_plugin_alike_are_both_named(tmp_path: Path) -> None:
    install(tmp_path, "first-h3", "1", "same = json")
    install(tmp_path, "second-h3", "2", "same = json.tool")
    points = [point for found in metadata.distributions(path=[str(tmp_path)]) for point in found.entry_points]

    with pytest.raises(NameTaken, match=r"called 'same': json(.tool)? of \w+-h3 \d and json(.tool)? of \w+-h3 \d"):
        Plugins([], entry_points=points)


def test_an_alias_stands_for_a_name_by_path_and_by_last_part(module: MakeModule) -> None:
    @register
    def sundog_aliases(add: Add) -> None:
        add("nvflare.some.where.Ordered", "ordered", ignored=("events",), renamed={"x_id": "x"})

    found = plugins(module("alpha", filters(ordered="collections:OrderedDict"), sundog_aliases))

    alias = found.alias("nvflare.some.where.Ordered")
    assert alias is not None
    assert alias is found.alias("Ordered")
    assert (alias.name, alias.ignored, alias.renamed) == ("ordered", ("events",), {"x_id": "x"})
    assert found.resolve("nvflare.some.where.Ordered") is found.resolve("Ordered") is found.resolve("ordered")
    assert found.alias("other.Class") is None


def test_a_foreign_class_without_counterpart_is_named_with_its_cure(module: MakeModule) -> None:
    @register
    def sundog_aliases(add: Add) -> None:
        add("other.Ordered", "ordered")
        add("other.Sorted", "", instead="sort it")
        add("other.", "", instead="write it")

    found = plugins(module("alpha", filters(ordered="collections:OrderedDict"), sundog_aliases))

    for name, cure in (("other.Sorted", "sort it"), ("Sorted", "sort it"), ("other.deep.Thing", "write it")):
        with pytest.raises(NoCounterpart, match=r"(Sorted|Thing) has no counterpart in Sundog yet") as raised:
            found.resolve(name)
        assert raised.value.cure == cure
    assert found.resolve("other.Ordered") is OrderedDict
    with pytest.raises(UnknownName, match=r"'Sorte'; there is"):
        found.resolve("Sorte")


@pytest.mark.parametrize("hook", ["sundog_filters", "sundog_aliases"])
def test_a_plugin_may_bring_what_had_no_counterpart(module: MakeModule, hook: str) -> None:
    @register
    def sundog_aliases(add: Add) -> None:
        add("other.Sorted", "", instead="sort it")

    @register(specname=hook)
    def brings(add: Add) -> None:
        add(*(("Sorted", "collections:OrderedDict") if hook == "sundog_filters" else ("other.Sorted", "ordered")))

    found = plugins(module("alpha", sundog_aliases, filters(ordered="collections:OrderedDict")), module("beta", brings))

    assert found.resolve("Sorted") is OrderedDict


def test_two_aliases_that_differ_are_refused(module: MakeModule) -> None:
    @register
    def sundog_aliases(add: Add) -> None:
        add("a.Thing", "one")
        add("b.Thing", "two")

    with pytest.raises(NameTaken, match=r"alias 'Thing' is claimed by alpha"):
        plugins(module("alpha", sundog_aliases))


def install(folder: Path, name: str, version: str, entry_point: str) -> None:
    """What pip leaves behind of a distribution."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    (info / "entry_points.txt").write_text(f"[sundog]\n{entry_point}\n")
