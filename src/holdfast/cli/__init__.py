"""The commands that a person runs by hand: `holdfast config convert` and `holdfast config check`.

Terms: to *convert* a machine's config is to put Holdfast in the place of the builtin data manager, or to go back.
To *check* a config is to find what the module would report, before a machine has it. Both have findings to report
(see `machine_config`).

A config comes in from a file or stdin, and an answer goes out to stdout and stderr. Nothing here talks to a machine
or to the cloud, or writes a file. Other packages import `main` only.
"""

from .main import main

__all__ = ["main"]
