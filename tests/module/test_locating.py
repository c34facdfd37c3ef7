"""The file with the machine's config is the one of the viam-server that started the module, and of no other."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from viam.proto.robot import ConfigStatus, GetCloudMetadataResponse, GetMachineStatusResponse

from holdfast.adoption import UnknownMachineFileError
from holdfast.errors import ResourceCallError, ResourceErrorKind
from module.locating import locate, revision
from module.viam_server import ViamServer
from tests.fakes import FakeClient

NO_CLOUD = ResourceCallError(ResourceErrorKind.FAILED, "cloud metadata not available")
SERVER = ViamServer("/started/here", {"HOME": "/home/u"}, ("-config", "machine.json"), 5)


def of_part(part_id: str) -> bytes:
    return GetCloudMetadataResponse(machine_part_id=part_id).SerializeToString()


@pytest.mark.parametrize(
    ("environment", "path"),
    [
        ({"HOME": "/home/u"}, "/home/u/.viam/cached_cloud_config_p1.json"),
        ({"HOME": "/home/u", "VIAM_HOME": "/data/viam"}, "/data/viam/cached_cloud_config_p1.json"),
        ({"HOME": "/home/u", "VIAM_HOME": ""}, "/home/u/.viam/cached_cloud_config_p1.json"),
        ({"VIAM_HOME": "../viam"}, "/started/viam/cached_cloud_config_p1.json"),
        ({}, "/started/here/.viam/cached_cloud_config_p1.json"),
    ],
)
async def test_a_config_of_the_cloud_is_in_viam_server_s_folder(environment: Mapping[str, str], path: str) -> None:
    """Also where the module's own environment says something else, which its config may set."""
    server = ViamServer("/started/here", environment, ("-config", "cloud.json"))
    found = await locate(FakeClient(of_part("p1")), server, {"VIAM_HOME": "/other"})
    assert (found.path, found.machine, found.variables) == (path, "p1", None)
    assert found.otherwise == "/other/cached_cloud_config_p1.json"


async def test_where_viam_server_s_environment_is_not_shown_the_module_s_counts() -> None:
    found = await locate(FakeClient(of_part("p1")), ViamServer(), {"VIAM_HOME": "/viam"})
    assert found.path == "/viam/cached_cloud_config_p1.json"


async def test_a_local_config_is_in_the_file_of_the_command_line() -> None:
    found = await locate(FakeClient(NO_CLOUD), SERVER, {})
    assert (found.path, found.machine) == ("/started/here/machine.json", "/started/here/machine.json")
    assert (found.variables, found.started_ns) == (SERVER.environment, 5)


@pytest.mark.parametrize(
    ("parent", "server", "said"),
    [
        (None, SERVER, "has not told its socket yet"),
        (FakeClient(ResourceCallError(ResourceErrorKind.TIMEOUT, "Deadline")), SERVER, "Deadline"),
        (FakeClient(b"\xff"), SERVER, "makes no sense"),
        (FakeClient(of_part("")), SERVER, "does not tell the machine's part"),
        (FakeClient(of_part("../p")), SERVER, "does not tell the machine's part"),
        (FakeClient(of_part("p")), ViamServer("", {"VIAM_HOME": "x"}), "x is relative"),
        (FakeClient(NO_CLOUD), ViamServer("/here", {}, ()), "command line does not show"),
        (FakeClient(NO_CLOUD), ViamServer("", {}, ("-config", "a")), "command line does not show"),
    ],
)
async def test_where_it_is_not_known_no_other_file_is_taken(
    parent: FakeClient | None, server: ViamServer, said: str
) -> None:
    with pytest.raises(UnknownMachineFileError, match=said):
        await locate(parent, server, {"HOME": "/another"})


async def test_the_revision_is_the_one_that_viam_server_runs() -> None:
    status = GetMachineStatusResponse(config=ConfigStatus(revision="r7"))
    assert await revision(FakeClient(status.SerializeToString())) == "r7"
    assert await revision(FakeClient(b"\xff")) == ""
