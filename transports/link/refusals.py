"""Reasons to refuse a HELLO, and whether each is final."""

from __future__ import annotations

from typing import ClassVar

from ...kernel.errors import LinkError


class Refused(LinkError):
    """The other side refuses this link; each reason is a class of its own."""

    is_lasting: ClassVar[bool] = True
    """Final or temporary: a final refusal stands until an operator changes something, a temporary one ends by itself.

    The dialer reports a final one to its handler (`DialerHandler.refused`), which may stop waiting; it dials again in both cases.
    """


class BadHello(Refused):
    """The first frame of a connection is not a HELLO, or its names cannot be names.

    Cause: a program that is not a Sundog participant connected, or a name in a kit has characters that are not allowed.

    Cure: names have letters, digits, `.`, `_` and `-`, at most 64; compare the endpoint in the kit with the server's.
    """

    code = "SD-2101"


class NoAnswer(LinkError):
    """The other side accepted the connection, but HELLO was not answered in time.

    Cause: the server hangs or is overloaded, or something else listens on its port.

    Cure: look at the server's log.txt; the link tries again by itself.
    """

    code = "SD-2102"


class WrongProject(Refused):
    """The two sides belong to different projects.

    Cause: the endpoint in the kit leads to another project's server.

    Cure: start the kit that was made for this server, or correct its endpoint.
    """

    code = "SD-2103"


class WrongVersion(Refused):
    """The two sides have no version of the protocol in common.

    Cause: one of the two installations is much older.

    Cure: upgrade the side that the message names.
    """

    code = "SD-2104"


class UnknownPeer(Refused):
    """The server does not know this participant, or not in this role.

    Cause: the participant was added to the project after the server's kit was made, or removed from it.

    Cure: compare the participant's name with the project file; hand out the kits anew.
    """

    code = "SD-2105"


class DuplicateInstance(Refused):
    """Another instance of the same participant is connected, and answers.

    Cause: the same kit was started twice, perhaps on another machine.

    Cure: stop one of the two; the second connects by itself when the first is gone.
    """

    code = "SD-2106"


class StaleTerm(Refused):
    """The server's term is over: a server with a higher one was seen.

    Cause: another server took over while this one was cut off or stopped.

    Cure: nothing to mend: sites go on to the next endpoint, and the old server becomes the standby.
    """

    code = "SD-2107"
    is_lasting = False


class NotServing(Refused):
    """This server is a standby, or is still starting.

    Cause: another server of the project is serving.

    Cure: nothing to mend: sites go on to the next endpoint.
    """

    code = "SD-2108"
    is_lasting = False

    def __init__(self, what: str, *, where: str = "", cure: str = "", grant: bytes = b"") -> None:
        super().__init__(what, where=where, cure=cure)
        self.grant = grant
        """The grant that names the server which is serving, if this one knows it."""


class TooManySites(Refused):
    """The server has reached its limit of sites.

    Cause: `limits.max_sites` in the server's kit.

    Cure: raise it, or stop a site that is not needed; this one retries at most every 30 seconds.
    """

    code = "SD-2130"


class CertificateMismatch(Refused):
    """HELLO, or the answer to it, does not fit the certificate of the connection.

    Cause: a name, role or project that is not the certificate's, another certificate than the connection's, or none at all.

    Cure: start the participant with the kit that was made for it; compare the two names in the message.
    """

    code = "SD-2170"


class RefusedOtherwise(Refused):
    """The other side refuses this link for a reason that this program does not know.

    Cause: the message is the other side's own; it is probably a newer version.

    Cure: follow the message; `sundog explain` on the other side knows the code in it.
    """

    code = "SD-2109"


class ClearListenerRefused(LinkError):
    """A listener without an identity would be reachable from other machines.

    Cause: a server that has no certificate takes every name as it is given, so it may only listen on this machine.

    Cure: listen on 127.0.0.1, or start a kit that was provisioned with certificates.
    """

    code = "SD-2110"
