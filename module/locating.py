"""Finds the file in which viam-server has the machine's config, and the config's revision that viam-server runs.

- A config from the cloud is in `cached_cloud_config_<part id>.json` in viam-server's folder, which is VIAM_HOME, or
  `.viam` in its HOME; if it is not there, in the VIAM_HOME that the module has. The part id comes from viam-server
  itself, over its socket: the environment may have another's.
- A local config is in the file that viam-server's command line names.

Runs on the event loop, and reads no file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from google.protobuf.message import DecodeError
from viam.proto.robot import GetCloudMetadataResponse, GetMachineStatusResponse

from holdfast.adoption import MachineFile, UnknownMachineFileError
from holdfast.capture.client import UnaryClient
from holdfast.errors import ResourceCallError

from .viam_server import ViamServer

_SERVICE = "/viam.robot.v1.RobotService/"
_TIMEOUT_S = 2.0
_MOST_BYTES = 16 << 20
"""A machine's status has an entry for each resource."""
_NO_CLOUD = "cloud metadata not available"


async def locate(
    client: UnaryClient | None, viam_server: ViamServer, environment: Mapping[str, str]
) -> MachineFile:
    """Returns where the file is, by what viam-server answers over `client`. `environment` is the module's own.

    Raises UnknownMachineFileError.
    """
    part_id = await _part_id(client)
    if part_id:
        name, given = f"cached_cloud_config_{part_id}.json", environment.get("VIAM_HOME", "")
        path = os.path.join(_folder(viam_server, environment), name)
        otherwise = os.path.join(given, name) if os.path.isabs(given) else ""
        return MachineFile(path, part_id, otherwise)
    if not viam_server.config_file:
        raise UnknownMachineFileError(
            "the machine's config is on this computer only, and viam-server's command line does not show where"
        )
    return MachineFile(
        viam_server.config_file, variables=viam_server.environment, started_ns=viam_server.started_ns
    )


async def revision(client: UnaryClient | None) -> str:
    """Returns the revision of the config that viam-server runs; empty where it tells none. Raises
    ResourceCallError."""
    answer = await _called(client, "GetMachineStatus")
    try:
        return str(GetMachineStatusResponse.FromString(answer).config.revision)
    except DecodeError:
        return ""


async def _part_id(client: UnaryClient | None) -> str:
    """Returns the id of the machine's part; empty for a machine without a cloud."""
    try:
        answer = await _called(client, "GetCloudMetadata")
        part_id = str(GetCloudMetadataResponse.FromString(answer).machine_part_id)
    except ResourceCallError as error:
        if _NO_CLOUD in str(error):
            return ""
        raise UnknownMachineFileError(f"viam-server does not tell the machine's part: {error}") from error
    except DecodeError as error:
        raise UnknownMachineFileError(
            "viam-server does not tell the machine's part: its answer makes no sense"
        ) from error
    if not part_id or os.path.basename(part_id) != part_id:
        raise UnknownMachineFileError("viam-server does not tell the machine's part")
    return part_id


async def _called(client: UnaryClient | None, method: str) -> bytes:
    if client is None:
        raise UnknownMachineFileError("viam-server has not told its socket yet")
    return await client.call(_SERVICE + method, b"", _TIMEOUT_S, _MOST_BYTES)


def _folder(viam_server: ViamServer, environment: Mapping[str, str]) -> str:
    """Returns viam-server's own folder, absolute. Raises UnknownMachineFileError."""
    known = viam_server.environment if viam_server.environment is not None else environment
    written = known.get("VIAM_HOME") or os.path.join(known.get("HOME", ""), ".viam")
    folder = os.path.join(viam_server.working_folder, written)
    if not os.path.isabs(folder):
        raise UnknownMachineFileError(f"{written} is relative to viam-server's working folder, which is not known")
    return os.path.normpath(folder)
