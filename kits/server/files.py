"""Whose files does an admin ask for: the server's own, or a site's, which is asked?"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import msgspec

from ...transports.link import Link
from ..protocol.file_answers import FileList, FileText, WorkingFolder
from ..protocol.messages import Ask
from ..protocol.requests import FileRequest, Ls, Pwd
from ..workspace.looking import look

if TYPE_CHECKING:
    from .server import Server

SERVER = "server"
"""What the server is called as a target, whatever its kit says."""


async def look_at_files(server: Server, link: Link, asked: FileRequest) -> msgspec.Struct:
    """The answer of the target.

    Raises:
        PathRefused, NoSuchFile: at the server itself.
        SiteDoesNotAnswer, RemoteError: the site is away, or refuses.
    """
    if asked.target == SERVER:
        return await asyncio.to_thread(look, server.workspace, asked)
    answer = WorkingFolder if isinstance(asked, Pwd) else FileList if isinstance(asked, Ls) else FileText
    said: msgspec.Struct = await server.questions.ask(asked.target, Ask("", asked.command, link.peer.name), asked, answer)
    return msgspec.structs.replace(said, target=asked.target)
