"""Storage: everything about a capture folder. Capture writes to it and sync reads from it; neither knows the other.

Terms: a *store* is one capture folder with all that belongs to it (`store`); `stores` are those in use at the same
time. A *capture file* holds the readings of one collector (`capture_files`). Threads write it and give it its final
name (`writing`). The *ledger* counts what becomes of each reading (`ledger`). *Quarantine* keeps what can't be
delivered (`quarantine`). The *limits* bound the size and age of the folder (`space`).

The rest is small: names (`layout`), the folder's lock (`lock`), claims on files (`claims`), what a crash left
(`recovery`), sequences (`sequence_files`), and where data is kept, by which limits (`placement`).

Storage never calls a resource or the cloud, and decodes no reading except to check a file of the builtin, which has
no checksums, and old files of images, whose readings hold several.
"""
