"""The bytes of capture files: how they are made, written, read back and checked.

Terms:

- A *frame* is a length and a protobuf message. A capture file is a run of frames: a header (`DataCaptureMetadata`),
  then readings (`SensorData`).
- A *check* is the CRC-32 that ends each message of ours. A file is *checked* when its header has one: Holdfast
  wrote it. A file without checks is the builtin's.
- *Damage* is a stretch of a file without a good frame. An end is *torn* when a crash left an unfinished frame or
  zeros there.

Readings are never decoded here, except to find out whether a message without a check is a reading at all, and to
split the old files of camera.GetImages. No file is in memory as a whole, and nothing is deleted.

Capture may import `frames`, which builds messages, and `protobuf_wire`; sync reads files by `reader` and its parts.
Only the disk thread and recovery change files.
"""
