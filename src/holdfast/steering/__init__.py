"""What steers the data manager while it runs: users by command, and the capture control sensor."""

from .control_sensor import Override
from .effective import Orders, Wanted, effective
from .open_sequences import MAX_OPEN, Marked
from .pair import Pair, pair_of
from .selective_syncer import reason_to_wait
from .sensor_readings import sensor_readings
from .settings_file import MAX_SETTINGS, Setting
from .steering import Steering
from .user_settings import CAPTURE, SYNC, ActiveSetting

__all__ = [
    "CAPTURE",
    "MAX_OPEN",
    "MAX_SETTINGS",
    "SYNC",
    "ActiveSetting",
    "Marked",
    "Orders",
    "Override",
    "Pair",
    "Setting",
    "Steering",
    "Wanted",
    "effective",
    "pair_of",
    "reason_to_wait",
    "sensor_readings",
]
