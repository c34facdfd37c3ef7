"""Gets readings to the disk: one thread writes them, another makes them safe from a power cut and completes files.

Terms:

- To *append* a reading is to put it into memory. To *flush* is to hand what is in memory to the operating system.
- A file is *in progress* while readings may be added to it, *finished* when none is added any more, and *complete*
  when it has its final name.
- To *sync* is to make the operating system bring what it was handed to the disk.

Nothing here reads a file, decodes a reading, sends, or deletes a complete file. The event loop never waits for a
disk: it appends, and a disk that is too slow costs counted readings.

`store` builds the `DiskWriter`; capture opens an `Appender` of it for each collector. Others may import
`sink.Sink`, which says what takes readings.
"""
