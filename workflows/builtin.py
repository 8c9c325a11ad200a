"""Which workflows and policies are built in, and by which names does FLARE 2.1 call them?"""

from __future__ import annotations

from ..kernel.hookspecs import AddAlias, AddClass, register

hook_api = 1

_FLARE = "nvflare.app_common.workflows"
_UPDATE = {"shareable_generator_id": "update", "shareable_generator": "update"}
_EVALUATION = ("task_check_period", "cleanup_models", "wait_for_clients_timeout", "formatter_id")


@register
def sundog_workflows(add: AddClass) -> None:
    """What a server can do in a job."""
    add("ScatterAndGather", "sundog.workflows.scatter_and_gather:ScatterAndGather")
    add("CrossSiteModelEval", "sundog.workflows.evaluation:CrossSiteModelEval")
    add("GlobalModelEval", "sundog.workflows.evaluation:GlobalModelEval")


@register
def sundog_policies(add: AddClass) -> None:
    """Who must answer in a step."""
    add("SitesPolicy", "sundog.workflows.policy:SitesPolicy")


@register
def sundog_aliases(add: AddAlias) -> None:
    """FLARE 2.1's dotted paths; the arguments named here are not needed, because nothing here polls or keeps copies."""
    add(f"{_FLARE}.scatter_and_gather.ScatterAndGather", "ScatterAndGather", ignored=("task_check_period",), renamed=_UPDATE)
    add(f"{_FLARE}.cross_site_model_eval.CrossSiteModelEval", "CrossSiteModelEval", ignored=_EVALUATION)
    add(
        f"{_FLARE}.global_model_eval.GlobalModelEval",
        "GlobalModelEval",
        ignored=(*_EVALUATION, "submit_model_timeout", "submit_model_task_name"),
    )
    cyclic = "write a sundog.Workflow in custom/: sundog.workflows.verbs.relay sends a task from site to site"
    add(f"{_FLARE}.cyclic_ctl.CyclicController", "", instead=cyclic)
    scaffold = "write a sundog.Workflow in custom/: model and control variates as one COLLECTION, whose members WeightedMean averages"
    add(f"{_FLARE}.scatter_and_gather_scaffold.ScatterAndGatherScaffold", "", instead=scaffold)
