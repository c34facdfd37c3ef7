"""Attacks by another user of this computer on a module that runs as root."""
