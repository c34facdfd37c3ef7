"""The bytes of capture files: how they are made, written, read back and checked.

Terms:

- A *frame* is a length and a protobuf message. A capture file is a run of frames: a header (`DataCaptureMetadata`),
  then readings (`SensorData`).
- A *check* is the CRC-32 that ends each message of ours. A file is *checked* when its header has one: Holdfast
  wrote it. A file without checks is the builtin's.
- *Damage* is a stretch of a file without a good frame. An end is *torn* when a crash left an unfinished frame or
  zeros there.

Readings are never decoded here, except to find out whether a message without a check is a reading at all, and to
split the old files of camera.GetImages. A file larger than one window is never in memory as a whole. Nothing is
counted or sent here, and no file with a reading in it is deleted.

Capture imports `frames`, which builds messages, `protobuf_wire`, and `capture_file` for the name of a type. Sync
reads files by `reader`, `large_payload` and `old_images`. Of these modules only `capture_file` writes.
"""
