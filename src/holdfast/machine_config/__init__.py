"""A whole machine's config as JSON, and the capture methods in it."""
