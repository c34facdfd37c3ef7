"""The way to the cloud: connections, calls, and whether there is a way."""
