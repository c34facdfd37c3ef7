"""Sync: brings what lies under the sync paths to the cloud, and deletes it when the cloud has it.

Never imports `capture` and never waits for it.
"""
