"""This program is the module, as viam-server starts it, with a `Watch` over its event loop.

The environment variable `HOLDS` names the file for what the watch finds.
"""

from __future__ import annotations

import os
from pathlib import Path

from module import event_loop, main

from .watch import Watch

if __name__ == "__main__":
    event_loop.new_event_loop = Watch(Path(os.environ["HOLDS"])).new_event_loop
    main.run()
