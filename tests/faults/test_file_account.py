"""`FileAccount` finds each kind of wrong file, and excuses what a fault may cost."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from viam.proto.app.datasync import UploadMetadata

from .calls import SECOND_NS, Calls, Interruption
from .file_account import FileAccount
from .labels import Labels, Tags


class Folder:
    """A folder of files, and a cloud that receives what the test says."""

    def __init__(self, tmp_path: Path) -> None:
        self.calls = Calls(random.Random(1))
        self.rng = random.Random(2)
        self.account = FileAccount(tmp_path / "files", self.calls)

    async def arrives(self, name: str, content: bytes | None = None) -> None:
        copy = self.account.folder.parent / "arrived"
        copy.write_bytes((self.account.folder / name).read_bytes() if content is None else content)
        self.account.note_file(UploadMetadata(file_name=name), copy)
        await self.calls.before_answer()


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


async def test_all_is_good_when_each_file_arrived_once(folder: Folder) -> None:
    for _ in range(3):
        await folder.arrives(folder.account.put(folder.rng))
    verdict = folder.account.verdict({"delivered": 3, "quarantined": 0, "vanished": 0})
    assert verdict.good
    assert (verdict.put, verdict.arrived, verdict.twice) == (3, 3, 0)


async def test_a_file_that_never_arrived_is_lost_unless_somebody_removed_it(folder: Folder) -> None:
    folder.account.put(folder.rng)
    assert folder.account.remove(folder.account.put(folder.rng))
    assert folder.account.verdict(None).lost == 1


async def test_other_bytes_are_altered_and_other_files_invented(folder: Folder) -> None:
    await folder.arrives(folder.account.put(folder.rng), b"something else")
    await folder.arrives("unheard-of.bin", b"")
    verdict = folder.account.verdict(None)
    assert (verdict.altered, verdict.invented) == (1, 1)


async def test_of_a_file_that_changed_the_last_must_be_what_it_is_now(folder: Folder) -> None:
    name = folder.account.put(folder.rng)
    await folder.arrives(name)
    folder.account.append(name, folder.rng)
    assert folder.account.verdict(None).altered == 1
    await folder.arrives(name, b"a mixture")
    assert folder.account.verdict(None).altered == 1
    await folder.arrives(name)
    assert folder.account.verdict(None).good


async def test_a_file_comes_twice_only_when_it_was_under_way_at_an_interruption(folder: Folder) -> None:
    name = folder.account.put(folder.rng)
    await folder.arrives(name)
    folder.calls.interruptions.append(Interruption(1, "module", time.time_ns(), SECOND_NS))
    folder.calls.note_login()
    await folder.arrives(name)
    assert (folder.account.verdict(None).twice, folder.account.verdict(None).twice_beyond) == (1, 0)
    await folder.arrives(name)
    assert folder.account.verdict(None).twice_beyond == 1


@pytest.mark.parametrize(
    "counts",
    [
        {"delivered": 0, "quarantined": 0, "vanished": 0},
        {"delivered": 3, "quarantined": 0, "vanished": 0},
        {"delivered": 1, "quarantined": 1, "vanished": 0},
        {"delivered": 1, "quarantined": 0, "vanished": 2},
    ],
    ids=str,
)
async def test_counts_of_files_that_are_not_what_happened_are_found(folder: Folder, counts: dict[str, int]) -> None:
    await folder.arrives(folder.account.put(folder.rng))
    folder.account.remove(folder.account.put(folder.rng))
    assert folder.account.verdict(counts).miscounted
    assert folder.account.verdict({"delivered": 1, "quarantined": 0, "vanished": 1}).good


async def test_metadata_is_compared(folder: Folder) -> None:
    account = FileAccount(folder.account.folder, folder.calls, Labels(Tags(), part_id="part"))
    name = account.put(folder.rng)
    account.note_file(UploadMetadata(file_name=name), account.folder / name)
    assert account.verdict(None).altered == 1
