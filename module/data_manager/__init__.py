"""The API rdk:service:data_manager for Python, in the shape in which the Viam SDK gives its services.

The SDK has the messages and no service, client or registration for it; this folder is what is missing there.
"""

from viam.resource.registry import Registry, ResourceRegistration

from .client import DataManagerClient
from .data_manager import DataManager
from .service import DataManagerRPCService

__all__ = ["DataManager", "DataManagerClient"]

Registry.register_api(
    ResourceRegistration(
        DataManager,  # type: ignore[type-abstract]
        DataManagerRPCService,
        lambda name, channel: DataManagerClient(name, channel),
    )
)
