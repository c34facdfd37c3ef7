"""Tests that break something on purpose: here, processes that are killed again and again."""
