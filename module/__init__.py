"""This package is what viam-server starts: it connects the package `holdfast` to viam-server by the Viam SDK."""

import os

os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
"""Otherwise gRPC writes a line to stderr at every login that fails, and viam-server shows it as an error."""
