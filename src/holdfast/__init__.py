"""Holdfast is a data manager for Viam machines that keeps what it captures until the cloud has it.

The package does not know the Viam SDK's services: `module/` at the top of the repository connects it to
viam-server. ARCHITECTURE.md has the map, the terms and the invariants. A reader from outside starts with
`manager.Manager`, `config.parse`, `commands.run_command` and `status.status`.
"""

__version__ = "0.1.0"
