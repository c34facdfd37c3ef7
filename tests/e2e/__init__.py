"""End-to-end tests: the real viam-server, with real modules."""
