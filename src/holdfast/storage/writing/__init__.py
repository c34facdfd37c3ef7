"""How readings get to the disk: the thread that writes, and the thread that completes."""
