"""The table of who may say what: each message, by the role that says it and the role that hears it."""

from __future__ import annotations

from collections import Counter
from typing import get_args

import pytest

from sundog.kernel.messages import Codec, Message, MessageError, encode
from sundog.kits.protocol.messages import MAY_SAY, Cancel, Checked, PeerMessage, StartRun, refuse_unless_said

from .samples import MESSAGES

BOTH_WAYS = {"Sync": {"site", "server"}, "Withdraw": {"admin", "server"}}
"""Messages that two roles may say."""
PAIRS = {("site", "server"), ("server", "site"), ("admin", "server"), ("server", "admin")}


def test_each_message_stands_in_the_table_once_for_each_role_that_may_say_it() -> None:
    rows = Counter((kind.__name__, speaker) for (speaker, _), kinds in MAY_SAY.items() for kind in kinds)

    assert set(rows.values()) == {1}
    for kind in get_args(PeerMessage):
        speakers = {speaker for name, speaker in rows if name == kind.__name__}
        assert speakers == BOTH_WAYS.get(kind.__name__, speakers), kind.__name__
        assert len(speakers) == len(BOTH_WAYS.get(kind.__name__, "1")), kind.__name__
    assert {name for name, _ in rows} == {kind.__name__ for kind in get_args(PeerMessage)}


def test_the_table_has_no_other_pair_of_roles() -> None:
    assert MAY_SAY.keys() == PAIRS


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_what_is_not_in_the_table_is_refused(message: Message) -> None:
    for speaker in ("server", "site", "admin", "overseer", ""):
        for hearer in ("server", "site", "admin", "overseer"):
            if type(message) in MAY_SAY.get((speaker, hearer), ()):
                refuse_unless_said(message, speaker, hearer)
            else:
                with pytest.raises(MessageError, match=type(message).__name__):
                    refuse_unless_said(message, speaker, hearer)


@pytest.mark.parametrize("said", [Checked("run", "t" * 256), Cancel("run", "t" * 256), StartRun("run", "t" * 256, [], 7)])
def test_a_token_of_more_than_255_characters_is_refused(said: Message) -> None:
    with pytest.raises(MessageError, match="length <= 255"):
        Codec(PeerMessage).decode(encode(said))
