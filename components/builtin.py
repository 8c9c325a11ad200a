"""Which components are built in, and by which names does FLARE 2.1 call them?"""

from __future__ import annotations

from ..kernel.hookspecs import AddAlias, AddClass, register

hook_api = 1


@register
def sundog_aggregators(add: AddClass) -> None:
    """What makes one Shareable of many results."""
    add("WeightedMean", "sundog.components.aggregators.weighted_mean:WeightedMean")


@register
def sundog_updates(add: AddClass) -> None:
    """What makes the next global model."""
    add("FullModelUpdate", "sundog.components.updates.full_model:FullModelUpdate")


@register
def sundog_persistors(add: AddClass) -> None:
    """What converts between a framework's model file and a Shareable."""
    add("NPModelPersistor", "sundog.components.persistors.numpy_file:NPModelPersistor")
    add("PTFileModelPersistor", "sundog.components.persistors.torch_file:PTFileModelPersistor")


@register
def sundog_locators(add: AddClass) -> None:
    """What finds models for a cross-site evaluation."""
    add("NPModelLocator", "sundog.components.locators.numpy_file:NPModelLocator")
    add("PTFileModelLocator", "sundog.components.locators.torch_file:PTFileModelLocator")


@register
def sundog_executors(add: AddClass) -> None:
    """What a site does with a task."""
    add("NPTrainer", "sundog.components.executors.numpy_trainer:NPTrainer")
    add("NPValidator", "sundog.components.executors.numpy_trainer:NPValidator")
    add("LearnerExecutor", "sundog.components.executors.learner:LearnerExecutor")
    add("ScriptExecutor", "sundog.components.executors.script:ScriptExecutor")


@register
def sundog_filters(add: AddClass) -> None:
    """What changes task data or results on their way."""
    add("ExcludeVars", "sundog.components.filters.exclude_vars:ExcludeVars")


@register
def sundog_observers(add: AddClass) -> None:
    """What watches a run, and what job code logs metrics with."""
    add("IntimeModelSelector", "sundog.components.observers.best_model:IntimeModelSelector")
    add("ValidationJsonGenerator", "sundog.components.observers.validation_json:ValidationJsonGenerator")
    add("AnalyticsSender", "sundog.components.trackers.analytics:AnalyticsSender")
    add("ConvertToFedEvent", "sundog.components.trackers.analytics:ConvertToFedEvent")


@register
def sundog_trackers(add: AddClass) -> None:
    """What writes metrics where people look at them."""
    add("TBAnalyticsReceiver", "sundog.components.trackers.tensorboard:TBAnalyticsReceiver")


@register
def sundog_resource_managers(add: AddClass) -> None:
    """What a site can give to jobs."""
    add("AlwaysYes", "sundog.components.resources.unlimited:AlwaysYes")
    add("ListResourceManager", "sundog.components.resources.counted:ListResourceManager")


@register
def sundog_access_rules(add: AddClass) -> None:
    """Who may give which command."""
    add("CommandsByRole", "sundog.components.access.by_role:CommandsByRole")


@register
def sundog_schedulers(add: AddClass) -> None:
    """Which waiting job is tried next."""
    add("FifoScheduler", "sundog.components.schedulers.fifo:FifoScheduler")


@register
def sundog_launchers(add: AddClass) -> None:
    """How a job process is started."""
    add("ProcessLauncher", "sundog.components.launchers.process:ProcessLauncher")


@register
def sundog_aliases(add: AddAlias) -> None:
    """FLARE 2.1's dotted paths, and what of them is not needed."""
    for path, name in _SAME_ARGUMENTS.items():
        add(f"nvflare.app_common.{path}", name)
    add(f"{_NUMPY}.np_trainer.NPTrainer", "NPTrainer", ignored=("sleep_time", "model_name", "model_dir"))
    add(f"{_NUMPY}.np_validator.NPValidator", "NPValidator", ignored=("sleep_time", "epsilon"))
    add(f"{_TORCH}.pt_file_model_persistor.PTFileModelPersistor", "PTFileModelPersistor", ignored=("allow_numpy_conversion",))
    add(f"{_TORCH}.pt_file_model_locator.PTFileModelLocator", "PTFileModelLocator", renamed={"pt_persistor_id": "persistor"})
    for path in ("intime_model_selector.IntimeModelSelector", "intime_model_selection_handler.IntimeModelSelectionHandler"):
        add(f"nvflare.app_common.widgets.{path}", "IntimeModelSelector", renamed={"weigh_by_local_iter": "weigh_by_examples"})


_NUMPY = "nvflare.app_common.np"
_TORCH = "nvflare.app_common.pt"
_NOT_NEEDED = ""
_SAME_ARGUMENTS = {
    "aggregators.intime_accumulate_model_aggregator.InTimeAccumulateWeightedAggregator": "WeightedMean",
    "aggregators.accumulate_model_aggregator.AccumulateWeightedAggregator": "WeightedMean",
    "aggregators.dxo_aggregator.DXOAggregator": "WeightedMean",
    "shareablegenerators.full_model_shareable_generator.FullModelShareableGenerator": "FullModelUpdate",
    "np.np_model_persistor.NPModelPersistor": "NPModelPersistor",
    "np.np_model_locator.NPModelLocator": "NPModelLocator",
    "np.np_formatter.NPFormatter": _NOT_NEEDED,  # results are JSON
    "executors.learner_executor.LearnerExecutor": "LearnerExecutor",
    "filters.exclude_vars.ExcludeVars": "ExcludeVars",
    "widgets.validation_json_generator.ValidationJsonGenerator": "ValidationJsonGenerator",
    "widgets.streaming.AnalyticsSender": "AnalyticsSender",
    "widgets.convert_to_fed_event.ConvertToFedEvent": "ConvertToFedEvent",
    "pt.tb_receiver.TBAnalyticsReceiver": "TBAnalyticsReceiver",
    "resource_managers.list_resource_manager.ListResourceManager": "ListResourceManager",
    "resource_consumers.gpu_resource_consumer.GPUResourceConsumer": _NOT_NEEDED,  # ListResourceManager sets the variable
    "job_schedulers.job_scheduler.DefaultJobScheduler": "FifoScheduler",
}
"""FLARE's class below nvflare.app_common → ours, which takes the same arguments."""
