"""Capture: calls resources at their frequencies and hands what they answer to `storage`.

Never imports `sync` and never waits for it.
"""
