"""Which resources the machine has beside those that viam-server gives as dependencies.

viam-server gives a module only what its config names; a control sensor or a command may name any resource.
"""

from __future__ import annotations

from google.protobuf.message import DecodeError
from viam.proto.robot import ResourceNamesRequest, ResourceNamesResponse

from ..capture.client import UnaryClient
from ..capture.methods import TABLES
from ..errors import ResourceCallError

_RESOURCE_NAMES = "/viam.robot.v1.RobotService/ResourceNames"
_TIMEOUT_S = 5.0


async def resources_of_the_machine(client: UnaryClient) -> dict[str, frozenset[str]]:
    """The APIs that can be captured, by short name; nothing where there is no machine that could be asked."""
    try:
        answer = await client.call(_RESOURCE_NAMES, ResourceNamesRequest().SerializeToString(), _TIMEOUT_S)
        names = ResourceNamesResponse.FromString(answer).resources
    except (ResourceCallError, DecodeError):
        return {}
    found: dict[str, frozenset[str]] = {}
    for name in names:
        api = f"{name.namespace}:{name.type}:{name.subtype}"
        if api in TABLES:
            found[name.name] = found.get(name.name, frozenset()) | {api}
    return found
