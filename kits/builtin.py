"""Registration of what the kits bring: admin commands, by the word that is typed."""

from __future__ import annotations

from ..kernel.hookspecs import AddClass, register

hook_api = 1


@register
def sundog_commands(add: AddClass) -> None:
    """Admin commands."""
    add("check_status", "sundog.kits.protocol.requests:CheckStatus")
    add("submit_job", "sundog.kits.protocol.requests:SubmitJob")
    add("list_jobs", "sundog.kits.protocol.requests:ListJobs")
    add("get_job_report", "sundog.kits.protocol.requests:GetJobReport")
    add("watch_job", "sundog.kits.protocol.requests:WatchJob")
    add("read_log", "sundog.kits.protocol.requests:ReadLog")
    add("abort_job", "sundog.kits.protocol.requests:AbortJob")
    add("delete_job", "sundog.kits.protocol.requests:DeleteJob")
    add("clone_job", "sundog.kits.protocol.requests:CloneJob")
    add("list_sessions", "sundog.kits.protocol.requests:ListSessions")
    add("download_job", "sundog.kits.protocol.requests:DownloadJob")
    add("download_done", "sundog.kits.protocol.requests:DownloadDone")
    add("pwd", "sundog.kits.protocol.requests:Pwd")
    add("ls", "sundog.kits.protocol.requests:Ls")
    add("cat", "sundog.kits.protocol.requests:Cat")
    add("head", "sundog.kits.protocol.requests:Head")
    add("tail", "sundog.kits.protocol.requests:Tail")
    add("grep", "sundog.kits.protocol.requests:Grep")
