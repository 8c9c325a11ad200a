"""Registration of what the kits bring: admin commands, by the word that is typed, in the order of help."""

from __future__ import annotations

from ..kernel.hookspecs import AddClass, register

hook_api = 1


@register
def sundog_commands(add: AddClass) -> None:
    """Admin commands."""
    add("check_status", "sundog.kits.commands.status:CHECK_STATUS")
    add("list_sessions", "sundog.kits.commands.status:LIST_SESSIONS")
    add("submit_job", "sundog.kits.commands.jobs:SUBMIT_JOB")
    add("list_jobs", "sundog.kits.commands.jobs:LIST_JOBS")
    add("get_job_report", "sundog.kits.commands.jobs:GET_JOB_REPORT")
    add("monitor_job", "sundog.kits.commands.jobs:MONITOR_JOB")
    add("logs", "sundog.kits.commands.logs:LOGS")
    add("abort_job", "sundog.kits.commands.jobs:ABORT_JOB")
    add("delete_job", "sundog.kits.commands.jobs:DELETE_JOB")
    add("clone_job", "sundog.kits.commands.jobs:CLONE_JOB")
    add("download_job", "sundog.kits.commands.jobs:DOWNLOAD_JOB")
    add("download_done", "sundog.kits.commands.jobs:DOWNLOAD_DONE")
    add("pwd", "sundog.kits.commands.files:PWD")
    add("ls", "sundog.kits.commands.files:LS")
    add("cat", "sundog.kits.commands.files:CAT")
    add("head", "sundog.kits.commands.files:HEAD")
    add("tail", "sundog.kits.commands.files:TAIL")
    add("grep", "sundog.kits.commands.files:GREP")
