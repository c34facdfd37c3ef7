"""The builtin data manager and ours capture the same resources; what they write is compared row by row."""
