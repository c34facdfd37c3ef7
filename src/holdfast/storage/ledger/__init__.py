"""The counts of what became of every reading and file, in memory and in the journal."""
