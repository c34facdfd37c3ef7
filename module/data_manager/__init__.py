"""This package is the API rdk:service:data_manager for Python, in the shape of the Viam SDK's own services.

The SDK has the API's messages, but no service, client or registration for it. This package adds these.
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
