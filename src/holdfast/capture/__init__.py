"""Capture calls resources at their frequencies and hands their answers to `storage`.

A *collector* calls one method of one resource. A *deadline* is a time at which its next call is due; one that
passes without a call is *missed*. A call is *in flight* until its answer has come. `methods/` says for each API how
a call is made, and what of its answer is stored.

This package never waits for a disk, never opens a capture file, and never imports `mongo` or `sync`: it writes to a
`Sink`. All of it runs on the event loop. Other packages import its modules; this file exports nothing.
"""
