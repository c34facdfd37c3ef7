"""A Viam module with sensors whose every answer a test can predict. viam-server starts it by `run.sh`."""
