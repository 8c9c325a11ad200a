"""free_space: the free bytes on the disk of the server or of a site."""

import shutil
from typing import Annotated

import msgspec

from sundog import Command, Parameter, TargetedRequest


class FreeSpace(TargetedRequest):
    """A question about one participant's disk."""

    unit: Annotated[str, Parameter("B or GB; default: B.", "-u")] = "B"


class Space(msgspec.Struct):
    """The answer."""

    target: str
    free: float
    unit: str
    asked_by: str


async def look(here, asked):
    free = shutil.disk_usage(here.workspace.root).free
    return Space(asked.target, free / (1e9 if asked.unit == "GB" else 1), asked.unit, here.subject.name)


FREE_SPACE = Command(
    name="free_space",
    request=FreeSpace,
    answers=(Space,),
    right="view",
    server=look,
    site=look,
    group="clinic",
    summary="Show how much room the disk of a participant has.",
    show=lambda answer: [f"{answer.target}: {answer.free:,.1f} {answer.unit}"],
)
