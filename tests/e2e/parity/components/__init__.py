"""The components and services of the parity test: a module that viam-server starts by `run.sh`."""
