"""Sync: sends what lies under the sync paths to the cloud, and removes it when the cloud has it.

It has four parts: `walk` finds what is to be sent, `delivery` sends it and settles what becomes of it, `cloud` is
the way there, and `uploads` does what users ask for. `rounds` drives them, `uplink` owns them all. Terms:

- A *found file* is a file to send, as a walk saw it (`found.Found`). An *attempt* to send it has an *outcome*.
- A *round* is one pass over all sync paths. An *upload* is an attempt that is under way, with one file or with
  several small ones of one folder.
- A *unit* is what is sent, fails and is tried again as one: a call with its files.
- The *link* is the connection to the cloud with its state: whether calls can be made, and if not, why.

Sync never imports `capture` and never waits for it; the two meet in `storage`. It never removes a file before the
cloud acknowledged all of it. It decodes no reading, except where `delivery.calls` says so.

Others import `uplink` and what it takes (`cloud.cloud.CloudSettings`, `rounds.SyncSettings`, `STOP_PATIENCE_S`),
`manual` for manual syncs, and `uploads` for uploads by command.
"""
