"""Measurements: ratios within one run, on the real viam-server."""
