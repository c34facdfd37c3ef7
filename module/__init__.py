"""What viam-server starts: joins the package `holdfast` to viam-server by the Viam SDK."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
"""Else gRPC writes a line to stderr at every login that fails, and viam-server shows it as an error."""
