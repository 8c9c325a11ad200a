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
    for path, instead in _WITHOUT_COUNTERPART.items():
        add(f"nvflare.{path}", "", instead=instead)


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

_ENCRYPTION = "homomorphic encryption is not built yet: a job that relies on it must not run without it"
_OWN_FILTER = "write a sundog.Filter in custom/ (docs/plugins.md)"
_OWN_OBSERVER = "write a class with @observe methods in custom/ (docs/hooks.md)"
_SERVER_KEEPS = "remove it: the server keeps jobs and runs in its own workspace"
_NO_OVERSEER = "remove it: a site's kit lists the endpoints of its servers, and there is no overseer yet"
_WITHOUT_COUNTERPART = {
    "": "write the class in custom/ with Sundog's roles (docs/plugins.md), or take one that `sundog plugins` lists",
    "apis.impl.job_def_manager.SimpleJobDefManager": _SERVER_KEEPS,
    "app_common.executors.multi_process_executor.MultiProcessExecutor": "name a ScriptExecutor or a LearnerExecutor",
    "app_common.filters.convert_weights.ConvertWeights": "remove it: FullModelUpdate takes WEIGHTS as well as WEIGHT_DIFF",
    "app_common.filters.percentile_privacy.PercentilePrivacy": _OWN_FILTER,
    "app_common.filters.svt_privacy.SVTPrivacy": _OWN_FILTER,
    "app_common.homomorphic_encryption.he_intime_accumulate_model_aggregator.HEInTimeAccumulateWeightedAggregator": _ENCRYPTION,
    "app_common.homomorphic_encryption.he_model_decryptor.HEModelDecryptor": _ENCRYPTION,
    "app_common.homomorphic_encryption.he_model_encryptor.HEModelEncryptor": _ENCRYPTION,
    "app_common.homomorphic_encryption.he_model_shareable_generator.HEModelShareableGenerator": _ENCRYPTION,
    "app_common.homomorphic_encryption.he_pt_model_reader_writer.HEPTModelReaderWriter": _ENCRYPTION,
    "app_common.pt.pt_fedopt.PTFedOptModelShareableGenerator": "write a sundog.ModelUpdate in custom/ with state() and restore()",
    "app_common.pt.pt_multi_process_executor.PTMultiProcessExecutor": "name a ScriptExecutor or a LearnerExecutor",
    "app_common.state_persistors.storage_state_persistor.StorageStatePersistor": _SERVER_KEEPS,
    "app_common.storages.filesystem_storage.FilesystemStorage": _SERVER_KEEPS,
    "app_common.storages.s3_storage.S3Storage": _SERVER_KEEPS,
    "app_common.widgets.event_recorder.ClientEventRecorder": _OWN_OBSERVER,
    "app_common.widgets.event_recorder.ServerEventRecorder": _OWN_OBSERVER,
    "ha.dummy_overseer_agent.DummyOverseerAgent": _NO_OVERSEER,
    "ha.overseer_agent.HttpOverseerAgent": _NO_OVERSEER,
    "widgets.comp_caller.ComponentCaller": _OWN_OBSERVER,
    "widgets.fed_event.ClientFedEventRunner": "remove it: metrics reach the server without it",
    "widgets.fed_event.ServerFedEventRunner": "remove it: metrics reach the server without it",
    "widgets.info_collector.InfoCollector": _OWN_OBSERVER,
}
"""FLARE 2.1's components below nvflare for which there is nothing here → what to do; "": all others."""
