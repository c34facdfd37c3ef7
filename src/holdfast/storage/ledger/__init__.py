"""The ledger: the counts of what became of every reading and file, in memory and in the journal.

Terms: a *count* is a number in the sum of the readings (`counts`). A *move* is what counts when a file leaves its
path (`moves`). The *tally* is all counts; *known files* are what is known of single files; the *journal* is both on
disk.

It opens no data file: callers say what happened, before or after it happened as each
method asks. It decides nothing.

Others import `Ledger` and `Delivered` (`ledger`), the counters and `CollectorId` (`counts`), `Acknowledged` and
`WHOLE` (`known_files`), `Move` and `MoveKind` (`moves`). `journal` and `tally` are for this package.
"""
