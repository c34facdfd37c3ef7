"""Watches how much room a capture folder takes up and has left, and deletes captured data when a limit is passed.

Terms:

- A *limit* is a bound that the user can set: how full the disk gets, how many bytes are kept, how old they get.
- A *census* is one listing of a folder: how many complete files it holds, by priority, and how large they are.
- The *local copy* is a folder that keeps files which the cloud has, instead of deleting them.

Only complete capture files are deleted, and files of the local copy; in memory mode also the oldest of the
quarantine, by `quarantine.limit`. Nothing here deletes an arbitrary file, a file in progress, or a file that is
being sent. Capture and sync wait for none of this.

Only `store`, `stores` and `placement` import from here, and the status, for what it shows.
"""
