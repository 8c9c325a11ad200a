"""Registration of the plugin."""

from sundog import register

hook_api = 1


@register
def sundog_commands(add):
    add("free_space", "sundog_clinic.free_space:FREE_SPACE")


@register
def sundog_launchers(add):
    add("ClinicLauncher", "sundog_clinic.launchers:ClinicLauncher")


@register
def sundog_filters(add):
    add("Median", "sundog_clinic.filters:Median")


@register
def sundog_aggregators(add):
    add("Median", "sundog_clinic.aggregators:Median")


@register
def sundog_observers(add):
    add("JobLedger", "sundog_clinic.observers:JobLedger")
