"""Registration of the plugin."""

from sundog import register

hook_api = 1


@register
def sundog_commands(add):
    add("free_space", "sundog_clinic.free_space:FREE_SPACE")
