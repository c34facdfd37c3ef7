"""Quarantine: files that can't be delivered, kept in `failed/` until a user decides about them.

Terms: the *sidecar* is the JSON file beside each, with the cause and with what counts (`sidecar`). A file is
*put back* when it is to be sent again, *discarded* when a user deletes it (`removal`).

Only a user's command takes files out, or the limit where they would fill memory (`limit`). The ledger counts a file
before it moves, in or out. This package never decides that a file can't be delivered: sync and recovery do.

Others import `quarantine`, `quarantine_sequence`, `readings_in_unreadable` and `QuarantinedReadings` to put files
in, `listing` to find them, `removal` to take them out, and `QuarantineLimit`.
"""
