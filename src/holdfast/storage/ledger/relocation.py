"""What the journals must know before a capture folder is moved, since they name files by their paths."""

from __future__ import annotations

from ...base.filesystem import FileSystem
from .. import layout
from .journal import Journal, Record
from .known_files import KnownFiles
from .tally import Tally


def note_new_place(files: FileSystem, former: str, now: str) -> None:
    """Adds to the journal what is known of each file in the folder `former`, under the path that it gets in `now`.

    That is the journal of `now` if there is one, and else that of `former`, which is moved with the folder. Readers
    forget the paths at which there is no file, so it does not matter when, or whether, the folder is moved. The
    counts of `former` are not added to those of `now`: its readings are adopted there.

    The locks of both folders must be ours. May be repeated. Raises StorageError and NewerStateError. Blocks.
    """
    own = Journal(files, former, dict).read()
    if not own:
        return
    known = KnownFiles.from_records(own)
    known.add_places((former, files.real_path(former)), now, files.real_path(now))
    place, records = former, own
    if files.exists(layout.state_path(now, "ledger")):
        place, records = now, Journal(files, now, dict).read()
        there = KnownFiles.from_records(records)
        there.add(known, moves=False)  # they are in the counts of `former`
        known = there
    counts = Tally.from_records(records)

    def checkpoint() -> Record:
        return {**counts.checkpoint(), **known.checkpoint()}

    journal = Journal(files, place, checkpoint)
    journal.append({})
    journal.close()
