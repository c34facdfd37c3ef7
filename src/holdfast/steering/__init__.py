"""What steers the data manager while it runs: users by command, and the capture control sensor."""

from .control_sensor import Override
from .effective import Orders, Wanted, effective, pair_of
from .open_sequences import MAX_OPEN, Marked
from .selective_syncer import reason_to_wait
from .sensor_readings import sensor_readings
from .settings_file import MAX_SETTINGS, Setting
from .steering import Steering
from .user_settings import CAPTURE, SYNC, Held

__all__ = [
    "CAPTURE",
    "MAX_OPEN",
    "MAX_SETTINGS",
    "SYNC",
    "Held",
    "Marked",
    "Orders",
    "Override",
    "Setting",
    "Steering",
    "Wanted",
    "effective",
    "pair_of",
    "reason_to_wait",
    "sensor_readings",
]
