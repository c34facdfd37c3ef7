"""Holdfast: a data manager for Viam machines that keeps what it captures until the cloud has it.

The package knows nothing of the Viam SDK's services: `module/` at the top of the repository joins it to
viam-server. See ARCHITECTURE.md for the map, the terms and the invariants.
"""

__version__ = "0.1.0"
