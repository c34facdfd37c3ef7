"""Tabular readings also go to a MongoDB collection, which may be away for as long as it likes.

`MongoCapture` puts readings into a *spool*: files in `.holdfast/mongo/`, beside the capture files. The *writer* of
each spool sends them to a *target*, the collection, as *documents*. A reading is named by the *life* in which it
was taken and by its number there. It keeps that name whenever it is sent, so that the collection has it once.

This package never waits for MongoDB or a disk on the event loop, never touches a capture file, and never imports
`capture` or `sync`. Other packages import the names below, from here. pymongo is loaded for the first connection.
"""

from .capture import OFF, MongoCapture, SpoolPlace

__all__ = ["OFF", "MongoCapture", "SpoolPlace"]
