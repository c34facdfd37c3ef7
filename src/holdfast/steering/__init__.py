"""What changes, while the process runs, what the config says: users by command, and the capture control sensor.

| term | meaning |
|---|---|
| pair | a resource and a method |
| setting | a pause or a frequency that a user set by command |
| override | a frequency and tags that the control sensor gives for a pair |
| orders | settings and overrides together; `effective` applies them to the config |
| sequence | a period of time, with resources and tags, whose data the cloud groups |
| selective syncer | a sensor that says whether scheduled sync may run |

Nothing here starts or stops a collector or a sync: the manager asks `Steering` what holds, whenever it says that
something changed. Others import what this file lists, and nothing from the modules of the package.
"""

from .absence import why_absent
from .effective import Orders, Wanted, effective
from .open_sequences import SequenceSpec
from .pair import names_of
from .selective_syncer import SelectiveSyncer, selective_syncer
from .settings_file import MAX_SETTINGS, Setting
from .steering import Steering
from .user_settings import CAPTURE, SYNC, ActiveSetting

__all__ = [
    "CAPTURE",
    "MAX_SETTINGS",
    "SYNC",
    "ActiveSetting",
    "Orders",
    "SelectiveSyncer",
    "SequenceSpec",
    "Setting",
    "Steering",
    "Wanted",
    "effective",
    "names_of",
    "selective_syncer",
    "why_absent",
]
