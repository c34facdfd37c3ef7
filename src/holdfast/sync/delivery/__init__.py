"""The delivery of found files: how each is sent, and what becomes of it then.

Rounds hand the files of one folder to `Delivery.attempt`, together with the store that they belong to. Terms:

- A *call* is one request to the cloud, or one stream (`calls`). A *bundle* is a call with several whole files.
- A *settlement* is what becomes of one file (`settlement`): it is counted in its store's ledger, then removed or
  moved to quarantine. A file that is not settled stays, and is tried again.
- A *lane* is the room for small or for large uploads (`lanes`).

Nothing here looks for files or decides when sync runs. It decodes no reading, except where `calls` says so. No file
is removed before the cloud acknowledged all of it. `uploads` uses `calls`, `progress` and `settlement`; `rounds`
uses `delivery` and `lanes`; `gathered` uses `bundler`; `uplink` uses `delivery` and `sequence_delivery`. Nothing
outside `sync` imports from here.
"""
