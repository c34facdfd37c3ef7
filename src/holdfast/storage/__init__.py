"""What lies on disk: names, frames, capture files, recovery, and the count of what became of them.

`capture` writes here and `sync` reads here; neither knows the other.
"""
