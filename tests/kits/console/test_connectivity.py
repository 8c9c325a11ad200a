"""What is told of the connection, and when."""

from __future__ import annotations

from sundog.kits.admin.connection import News
from sundog.kits.commands.status import ServerStatus
from sundog.kits.console.connectivity import Lookout, primary

from .conftest import Clinic


def test_news_waits_while_a_command_is_done_and_is_told_once(clinic: Clinic) -> None:
    said: list[str] = []
    lookout = Lookout(clinic.session, said.append)
    tell = clinic.session.connection.on_news

    tell(News(is_up=False, what="gone"))
    tell(News(is_up=False, what="refused"))
    assert said == []
    lookout.open()
    assert said == ["the server is gone (gone); it is dialled again until it is back"]
    tell(News(is_up=True, what="tcp://there:8003"))
    tell(News(is_up=True, what="tcp://there:8003"))
    assert said[1:] == ["connected again: tcp://there:8003"]
    lookout.hold()
    tell(News(is_up=False, what="gone"))
    assert len(said) == 2


def test_the_server_is_named_as_an_sp_with_its_ssid() -> None:
    """T075."""
    status = ServerStatus("stopped", [], 0, [], 1, 8002, "ebc6125d-0a56-4688-9b08-355fe9e4d61a")

    assert primary("tcp://localhost:8003", status).splitlines() == [
        "primary SP localhost:8002:8003 SSID: ebc6125d-0a56-4688-9b08-355fe9e4d61a",
        "  Host: localhost Admin_port: 8003",
    ]


def test_a_real_server_tells_its_port_and_the_fixed_ssid(clinic: Clinic) -> None:
    """T075."""
    status = clinic.session.check_status("server")

    assert clinic.federation.address.endswith(f":{status.fl_port}")
    assert status.service_session_id.startswith("ebc6125d-0a")
