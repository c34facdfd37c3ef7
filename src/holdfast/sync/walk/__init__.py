"""Finds what sync has to send under the sync paths, and in which order.

Terms: a *walk* (`Walk`) visits all folders under the sync paths once. A *listing* (`Listings`) is what the last
walk saw in one folder, so that the next walk can pass over it. An *announced file* (`AnnouncedFiles`) is known to
sync without a walk. The *backlog* (`Backlog`) is how much waits to be sent: the sum of the listings.

It sends nothing and opens no file; it only lists folders and reads their metadata. It imports from the rest of sync
only `found` and `retries`. `sync.rounds` uses all of it; `sync.summary` uses the backlog.
"""
