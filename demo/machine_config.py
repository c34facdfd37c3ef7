"""`robot_config` turns a machine's JSON config into the RobotConfig message that Viam's cloud sends to viam-server.

Only what a data machine needs is understood. Any other key is refused by name: if it were silently ignored, a test
would run with another config than the one that was written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from google.protobuf.json_format import ParseDict
from google.protobuf.struct_pb2 import Struct
from viam.proto.app.robot import (
    AuthConfig,
    AuthHandlerConfig,
    CloudConfig,
    ComponentConfig,
    CredentialsType,
    LocationSecret,
    LogConfiguration,
    LogPatternConfig,
    ModuleConfig,
    NetworkConfig,
    RemoteConfig,
    ResourceLevelServiceConfig,
    RobotConfig,
    ServiceConfig,
)

MachineConfig = Mapping[str, Any]
Entries = Iterable[Mapping[str, Any]]

_TOP_KEYS = {"components", "services", "modules", "remotes", "network", "log", "debug", "revision"}
_RESOURCE_KEYS = {
    "name", "api", "namespace", "type", "model", "attributes", "depends_on", "service_configs",
    "log_configuration",
}  # fmt: skip
_MODULE_KEYS = {"name", "executable_path", "type", "log_level", "env", "module_id", "tcp_mode"}
_REMOTE_KEYS = {"name", "address", "prefix", "insecure", "service_configs"}


def robot_config(machine: MachineConfig, *, part_id: str, api_keys: Mapping[str, str]) -> RobotConfig:
    """Converts `machine`.

    `api_keys` (key id to key) go into the auth handlers, from which viam-server takes the VIAM_API_KEY_ID and
    VIAM_API_KEY of its modules.
    Raises ValueError for a key that is not understood.
    """
    _check_keys("the machine config", machine, _TOP_KEYS)
    return RobotConfig(
        cloud=cloud_config(part_id),
        auth=AuthConfig(handlers=_auth_handlers(api_keys)),
        network=NetworkConfig(bind_address=machine.get("network", {}).get("bind_address", "")),
        components=[_component(entry) for entry in machine.get("components", [])],
        services=[_service(entry) for entry in machine.get("services", [])],
        modules=[_module(entry) for entry in machine.get("modules", [])],
        remotes=[_remote(entry) for entry in machine.get("remotes", [])],
        log=[LogPatternConfig(**entry) for entry in machine.get("log", [])],
        debug=machine.get("debug", False),
        revision=machine.get("revision", ""),
    )


def cloud_config(part_id: str) -> CloudConfig:
    """Returns the cloud section. viam-server exits without a location secret, and asks for a certificate unless
    signaling is insecure."""
    return CloudConfig(
        id=part_id,
        machine_id="demo-machine",
        location_id="demo-location",
        primary_org_id="demo-org",
        fqdn="demo-main.local",
        local_fqdn="demo-main.local",
        signaling_insecure=True,
        location_secrets=[LocationSecret(id="demo-secret", secret="demo-secret")],
    )


def _auth_handlers(api_keys: Mapping[str, str]) -> list[AuthHandlerConfig]:
    """Returns the handler for API keys. viam-server exits unless `keys` lists the key ids too."""
    if not api_keys:
        return []
    config = _struct({**api_keys, "keys": list(api_keys)})
    return [AuthHandlerConfig(type=CredentialsType.CREDENTIALS_TYPE_API_KEY, config=config)]


def _component(entry: Mapping[str, Any]) -> ComponentConfig:
    return ComponentConfig(**_resource_fields(entry, "component"))


def _service(entry: Mapping[str, Any]) -> ServiceConfig:
    return ServiceConfig(**_resource_fields(entry, "service"))


def _resource_fields(entry: Mapping[str, Any], kind: str) -> dict[str, Any]:
    _check_keys(f"{kind} {entry.get('name')!r}", entry, _RESOURCE_KEYS)
    api = entry.get("api") or f"{entry.get('namespace') or 'rdk'}:{kind}:{entry['type']}"
    namespace, _, subtype = api.split(":")
    fields: dict[str, Any] = {
        "name": entry["name"],
        "namespace": namespace,
        "type": subtype,
        "api": api,
        "model": entry["model"],
        "depends_on": entry.get("depends_on", []),
        "attributes": _struct(entry.get("attributes", {})),
        "service_configs": _service_configs(entry.get("service_configs", [])),
    }
    if "log_configuration" in entry:
        fields["log_configuration"] = LogConfiguration(level=entry["log_configuration"]["level"])
    return fields


def _service_configs(entries: Entries) -> list[ResourceLevelServiceConfig]:
    return [
        ResourceLevelServiceConfig(type=entry["type"], attributes=_struct(entry["attributes"])) for entry in entries
    ]


def _module(entry: Mapping[str, Any]) -> ModuleConfig:
    _check_keys(f"module {entry.get('name')!r}", entry, _MODULE_KEYS)
    return ModuleConfig(
        name=entry["name"],
        path=entry["executable_path"],
        type=entry.get("type", "local"),
        log_level=entry.get("log_level", ""),
        module_id=entry.get("module_id", ""),
        env=entry.get("env", {}),
        tcp_mode=entry.get("tcp_mode", False),
    )


def _remote(entry: Mapping[str, Any]) -> RemoteConfig:
    _check_keys(f"remote {entry.get('name')!r}", entry, _REMOTE_KEYS)
    return RemoteConfig(
        name=entry["name"],
        address=entry["address"],
        prefix=entry.get("prefix", ""),
        insecure=entry.get("insecure", False),
        service_configs=_service_configs(entry.get("service_configs", [])),
    )


def _struct(value: Mapping[str, Any]) -> Struct:
    return ParseDict(dict(value), Struct())


def _check_keys(what: str, entry: Mapping[str, Any], known: set[str]) -> None:
    unknown = sorted(set(entry) - known)
    if unknown:
        raise ValueError(f"{what} has keys that the local cloud does not understand: {', '.join(unknown)}")
