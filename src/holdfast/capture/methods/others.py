"""APIs without methods of their own in RDK: it captures only their DoCommand, and GetWorldPose of components."""

from __future__ import annotations

from collections.abc import Mapping

from .common import WORLD_POSE, do_command, of_component
from .method import Method

_COMPONENTS = {
    "rdk:component:base": "viam.component.base.v1.BaseService",
    "rdk:component:button": "viam.component.button.v1.ButtonService",
    "rdk:component:generic": "viam.component.generic.v1.GenericService",
    "rdk:component:gripper": "viam.component.gripper.v1.GripperService",
    "rdk:component:input_controller": "viam.component.inputcontroller.v1.InputControllerService",
    "rdk:component:pose_tracker": "viam.component.posetracker.v1.PoseTrackerService",
    "rdk:component:switch": "viam.component.switch.v1.SwitchService",
}

_SERVICES = {
    "rdk:service:discovery": "viam.service.discovery.v1.DiscoveryService",
    "rdk:service:generic": "viam.service.generic.v1.GenericService",
    "rdk:service:motion": "viam.service.motion.v1.MotionService",
    "rdk:service:navigation": "viam.service.navigation.v1.NavigationService",
    "rdk:service:shell": "viam.service.shell.v1.ShellService",
}

TABLES: Mapping[str, Mapping[str, Method]] = {
    **{api: of_component(service) for api, service in _COMPONENTS.items()},
    **{api: {"DoCommand": do_command(service)} for api, service in _SERVICES.items()},
    "rdk:component:audio_out": {"GetWorldPose": WORLD_POSE},
}
