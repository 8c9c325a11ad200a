"""What holds on every wire: identity, heartbeat, reconnection, blob transfer."""

from __future__ import annotations

from .acceptor import Acceptor as Acceptor
from .dialer import Dialer as Dialer
from .dialer import DialerHandler as DialerHandler
from .hello import Hello as Hello
from .hello import Identity as Identity
from .hello import LinkSecurity as LinkSecurity
from .hello import Peer as Peer
from .intake import Intake as Intake
from .link import Handler as Handler
from .link import Link as Link
from .timers import Timers as Timers
from .writer import Writer as Writer
