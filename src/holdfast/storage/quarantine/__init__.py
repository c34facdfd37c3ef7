"""`failed/`: files that can't be delivered, what lies there, and how it gets out."""
