"""Which transports come with Sundog?"""

from __future__ import annotations

from ..kernel.hookspecs import AddClass, register

hook_api = 1


@register
def sundog_transports(add: AddClass) -> None:
    """Name our wires."""
    add("grpc", "sundog.transports.grpc_stream:GrpcStream")
    add("inproc", "sundog.transports.inproc:Inproc")
    add("tcp", "sundog.transports.tcp:Tcp")
    add("zmq", "sundog.transports.zeromq:ZeroMq")
    add("zmq+ipc", "sundog.transports.zeromq:ZeroMqIpc")
