"""Uploads that users ask for: what arrives, what stays on disk, what the caller gets, and where data waits."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from viam.proto.app.datasync import UploadMetadata

from holdfast.base.at import Identity
from holdfast.base.attachment import Attachment
from holdfast.base.clock import SystemClock
from holdfast.base.filesystem import FileSystem
from holdfast.errors import BusyError, CommandError, NotConnectedError, NotUploadedError, StorageError
from holdfast.storage.ledger.counts import FileCounts
from holdfast.storage.store import Store
from holdfast.sync.delivery.sender import Sender
from holdfast.sync.delivery.sequence_delivery import no_sequence_is_open
from holdfast.sync.uploads import kept
from holdfast.sync.uploads.candidates import Candidate
from holdfast.sync.uploads.uploads import AT_ONCE, Labels, Uploads
from tests.acceptance import accept_something
from tests.waiting import eventually

from ..conftest import HeldUp, World, make_world, write_old_file

INVALID = grpc.StatusCode.INVALID_ARGUMENT
LABELS = Labels(("night", "left"), ("set-1", "set-2"))


@pytest.fixture
async def uploads(world: World) -> AsyncIterator[Uploads]:
    world.rounds.configure(world.settings(disabled=True))
    world.delivery.configure(("of-the-config",), no_sequence_is_open)
    made = of(world, world.rounds.until_resumed)
    await world.connected()
    yield made
    await made.stop()


def of(world: World, may_begin: Callable[[], Awaitable[None]]) -> Uploads:
    settlements = world.delivery.settlements
    sender = Sender(SystemClock(), world.connection, world.link)
    return Uploads(world.files, sender, world.link, settlements, lambda: world.stores, may_begin)


def synced(world: World, name: str = "photo.jpeg", content: bytes = b"abc" * 100_000) -> Candidate:
    path = write_old_file(world.folder / name, content)
    return Candidate(str(path), str(world.folder), is_synced=True)


def elsewhere(world: World, name: str = "photo.jpeg", content: bytes = b"abc") -> Candidate:
    path = write_old_file(world.folder.parent / "elsewhere" / name, content)
    return Candidate(str(path), str(path.parent))


def labels_of(metadata: UploadMetadata) -> tuple[set[str], set[str]]:
    return set(metadata.tags), set(metadata.dataset_ids)


def upload_tasks() -> list[asyncio.Task[object]]:
    return [task for task in asyncio.all_tasks() if task.get_name() == "holdfast-upload"]


def kept_files(world: World) -> list[Path]:
    return [path for path in (world.folder / "uploads").rglob("*") if path.is_file()]


async def test_a_file_under_a_sync_path_arrives_with_its_labels_and_goes_as_with_sync(
    world: World, uploads: Uploads
) -> None:
    candidate = synced(world)
    done = await uploads.upload_file(candidate, LABELS)
    ((metadata, content),) = world.arrived.files
    assert content == b"abc" * 100_000 and done.size_bytes == len(content) and len(done.identity) == 32
    assert labels_of(metadata) == ({"night", "left"}, {"set-1", "set-2"})
    assert (metadata.file_name, metadata.file_extension, metadata.part_id) == (candidate.path, ".jpeg", "part")
    assert not os.path.exists(candidate.path)
    assert world.ledger.files == FileCounts(delivered=1, delivered_bytes=300_000)


async def test_a_file_that_a_process_holds_open_is_uploaded_when_it_is_asked_for_and_stays_until_it_is_closed(
    world: World, uploads: Uploads
) -> None:
    candidate = synced(world, "log", b"one")
    path = Path(candidate.path)
    held = os.open(path, os.O_WRONLY)
    await uploads.upload_file(candidate, LABELS)
    assert (await world.rounds.sync_now()).held_open.first == [candidate.path]
    os.close(held)
    assert path.exists()
    await world.rounds.sync_now()
    assert not path.exists()
    assert [content for _, content in world.arrived.files] == [b"one"]
    assert world.ledger.files == FileCounts(delivered=1, delivered_bytes=3)


async def test_a_file_elsewhere_stays_where_it_is_and_counts_nowhere(world: World, uploads: Uploads) -> None:
    candidate = elsewhere(world)
    await uploads.upload_file(candidate, Labels())
    assert [content for _, content in world.arrived.files] == [b"abc"] and os.path.exists(candidate.path)
    assert world.ledger.files == FileCounts()


async def test_a_refused_file_stays_where_it_is_since_its_labels_may_be_to_blame(
    world: World, uploads: Uploads
) -> None:
    candidate = synced(world)
    world.cloud.fail_next(INVALID, 1)
    with pytest.raises(NotUploadedError, match="INVALID_ARGUMENT"):
        await uploads.upload_file(candidate, LABELS)
    assert os.path.exists(candidate.path) and world.ledger.files == FileCounts()
    assert (await world.rounds.sync_now()).files == 1


async def test_no_file_is_sent_by_sync_and_by_request_at_once(world: World, uploads: Uploads) -> None:
    go_on = asyncio.Event()
    world.cloud.before_answer = lambda: _wait(go_on)
    candidate = synced(world)
    sending = asyncio.create_task(uploads.upload_file(candidate, Labels()))
    await eventually(lambda: world.cloud.calls["FileUpload"] == 1)
    assert (await world.rounds.sync_now()).files == 0
    go_on.set()
    await sending
    go_on.clear()
    candidate = synced(world)
    syncing = asyncio.create_task(world.rounds.sync_now())
    await eventually(lambda: world.cloud.calls["FileUpload"] == 2)
    with pytest.raises(NotUploadedError, match="sync is sending it"):
        await uploads.upload_file(candidate, Labels())
    go_on.set()
    assert (await syncing).files == 1 and world.cloud.calls["FileUpload"] == 2


async def _wait(event: asyncio.Event) -> None:
    await event.wait()


async def test_a_file_that_changes_meanwhile_is_no_success_and_stays(world: World, uploads: Uploads) -> None:
    candidate = synced(world)

    async def change() -> None:
        Path(candidate.path).write_bytes(b"other")

    world.cloud.before_answer = change
    with pytest.raises(NotUploadedError, match="changed while it was sent"):
        await uploads.upload_file(candidate, Labels())
    assert Path(candidate.path).read_bytes() == b"other"


async def test_another_file_of_that_name_is_not_deleted(world: World, uploads: Uploads) -> None:
    candidate = synced(world, content=b"old")

    async def replace() -> None:
        os.rename(write_old_file(world.folder / "new", b"new"), candidate.path)

    world.cloud.before_answer = replace
    assert (await uploads.upload_file(candidate, Labels())).size_bytes == 3
    assert Path(candidate.path).read_bytes() == b"new"


async def test_a_file_elsewhere_counts_in_the_store_that_is_there_when_it_ends(
    world: World, uploads: Uploads, tmp_path: Path
) -> None:
    candidate = replace(elsewhere(world), is_synced=True)
    other = Store(world.files, SystemClock(), str(tmp_path / "other"), 1.0, 5.0)

    async def change_capture_dir() -> None:
        world.stores[:] = [other]

    world.cloud.before_answer = change_capture_dir
    await uploads.upload_file(candidate, Labels())
    assert not os.path.exists(candidate.path) and world.ledger.files == FileCounts()
    assert other.ledger.files == FileCounts(delivered=1, delivered_bytes=3)
    await other.close()


async def test_an_empty_file_a_missing_one_and_a_link_are_no_uploads(world: World, uploads: Uploads) -> None:
    for candidate in (
        elsewhere(world, content=b""),
        Candidate(str(world.folder / "absent"), str(world.folder), is_synced=True),
    ):
        with pytest.raises(NotUploadedError):
            await uploads.upload_file(candidate, Labels())
    assert world.cloud.calls["FileUpload"] == 0


async def test_few_are_sent_at_once(world: World, uploads: Uploads) -> None:
    now = most = 0
    full = asyncio.Event()

    async def count() -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        if now == AT_ONCE:
            full.set()
        await asyncio.wait_for(full.wait(), 20)
        now -= 1

    world.cloud.before_answer = count
    candidates = [elsewhere(world, f"{number}.txt") for number in range(12)]
    await asyncio.gather(*(uploads.upload_file(candidate, Labels()) for candidate in candidates))
    assert most == AT_ONCE and world.cloud.files_count == 12


async def test_between_close_and_successor_none_begins(world: World) -> None:
    asked = asyncio.Event()

    async def may_begin() -> None:
        asked.set()
        await world.rounds.until_resumed()

    world.rounds.configure(world.settings(disabled=True))
    world.rounds.pause()
    sending = asyncio.create_task(of(world, may_begin).upload_file(elsewhere(world), Labels()))
    await asyncio.wait_for(asked.wait(), 20)
    await world.connected()
    assert world.cloud.calls["FileUpload"] == 0 and not sending.done()
    world.rounds.configure(world.settings(disabled=True))
    await sending
    assert world.cloud.calls["FileUpload"] == 1


async def test_data_arrives_with_its_labels_alone_and_nothing_stays(world: World, uploads: Uploads) -> None:
    done = await uploads.upload_data(world.store, Attachment(b"image"), ".png", LABELS)
    ((metadata, content),) = world.arrived.files
    assert content == b"image" and done.size_bytes == 5 and done.identity
    assert labels_of(metadata) == ({"night", "left"}, {"set-1", "set-2"})
    assert metadata.file_extension == ".png"
    assert kept_files(world) == [] and world.ledger.files == FileCounts(delivered=1, delivered_bytes=5)


async def test_without_a_link_data_is_kept_and_sync_delivers_it_with_its_labels_and_no_others(
    world: World, uploads: Uploads
) -> None:
    await world.cable.cut()
    with pytest.raises(NotConnectedError, match=r"it is kept as .* do not send it again"):
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", LABELS)
    (path,) = kept_files(world)
    assert path.read_bytes() == b"image" and path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(NotConnectedError):
        await uploads.upload_data(
            world.store, Attachment(b"image"), ".png", Labels(LABELS.tags[::-1], LABELS.dataset_ids)
        )
    assert kept_files(world) == [path], "the same again is no second file"
    await world.cable.restore()
    await eventually(lambda: world.link.usable)
    assert (await world.rounds.sync_now()).files == 1
    ((metadata, content),) = world.arrived.files
    assert content == b"image" and kept_files(world) == []
    assert labels_of(metadata) == ({"night", "left"}, {"set-1", "set-2"})


async def test_data_that_the_cloud_can_not_take_now_is_kept_and_what_it_refuses_is_quarantined(
    world: World, uploads: Uploads
) -> None:
    world.cloud.fail_next(grpc.StatusCode.RESOURCE_EXHAUSTED, 1)
    with pytest.raises(NotConnectedError, match=r"RESOURCE_EXHAUSTED.*it is kept as"):
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels())
    assert len(kept_files(world)) == 1
    world.cloud.fail_next(INVALID, 2)
    with pytest.raises(NotConnectedError, match=r"INVALID_ARGUMENT.*it is kept as"):
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels())
    assert len(kept_files(world)) == 1
    await accept_something(world.link)
    with pytest.raises(CommandError, match=r"refused by the cloud: INVALID_ARGUMENT.*kept in failed/"):
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels())
    assert kept_files(world) == [] and world.ledger.files == FileCounts(quarantined=1)
    assert [path.read_bytes() for path in (world.folder / "failed/uploads").rglob("*.png")] == [b"image"]


async def test_an_upload_of_data_that_is_cancelled_leaves_it_to_sync(world: World, uploads: Uploads) -> None:
    world.cloud.before_answer = lambda: _wait(asyncio.Event())
    waiting = asyncio.create_task(uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels()))
    await eventually(lambda: world.cloud.calls["FileUpload"] == 1)
    waiting.cancel()
    with pytest.raises(NotConnectedError, match=r"cancelled.*it is kept as"):
        await waiting
    assert len(kept_files(world)) == 1 and upload_tasks() == []
    world.cloud.before_answer = None
    assert (await world.rounds.sync_now()).files == 1


async def test_data_that_is_just_kept_when_its_upload_is_cancelled_is_kept_whole(tmp_path: Path) -> None:
    files = HeldUp("rename", ".jpeg")
    async with make_world(tmp_path, files) as world:
        uploads = of(world, world.rounds.until_resumed)
        path = kept.path_for(world.store.root, b"abc", ".jpeg", (), ())
        await eventually(lambda: world.store.owned)
        task = asyncio.create_task(uploads.upload_data(world.store, Attachment(b"abc"), ".jpeg", Labels()))
        await files.cancelled(task, task.cancel, lambda: world.store.claims.try_claim(path), NotConnectedError)
        assert Path(path).read_bytes() == b"abc"


async def test_the_same_data_twice_at_once_is_sent_once(world: World, uploads: Uploads) -> None:
    first, second = await asyncio.gather(
        *(
            uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels(dataset_ids=("x",)))
            for _ in range(2)
        )
    )
    assert first == second and world.cloud.files_count == 1
    await uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels(dataset_ids=("x",)))
    assert world.cloud.files_count == 2, "what was delivered may be asked for anew"


async def test_a_stop_leaves_data_for_the_next_sync(world: World, uploads: Uploads) -> None:
    never = asyncio.Event()
    world.cloud.before_answer = lambda: _wait(never)
    waiting = asyncio.create_task(uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels()))
    await eventually(lambda: world.cloud.calls["FileUpload"] == 1)
    await uploads.stop()
    with pytest.raises(NotConnectedError, match="was stopped; it is kept as"):
        await waiting
    assert len(kept_files(world)) == 1
    world.cloud.before_answer = None
    assert (await world.rounds.sync_now()).files == 1


@pytest.mark.parametrize(
    "labels",
    [
        Labels(tags=("a/b",)),
        Labels(tags=("",)),
        Labels(tags=(" a",)),
        Labels(tags=("a\0b",)),
        Labels(tags=("a" * 252,)),
        Labels(dataset_ids=("../../etc",)),
        Labels(tags=tuple(f"{number:0200}" for number in range(20))),
        Labels(tags=tuple(f"{number}" for number in range(101))),
    ],
)
async def test_labels_that_can_not_be_kept_are_an_error_and_nothing_is_sent(
    world: World, uploads: Uploads, labels: Labels
) -> None:
    with pytest.raises(CommandError, match="tags and dataset_ids"):
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", labels)
    assert kept_files(world) == [] and world.cloud.calls["FileUpload"] == 0


@pytest.mark.parametrize("bound", ["MAX_FILES", "MAX_BYTES"])
async def test_what_waits_is_bounded_and_beyond_that_nothing_is_kept(
    world: World, uploads: Uploads, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(kept, bound, {"MAX_FILES": 2, "MAX_BYTES": 12}[bound])
    await world.cable.cut()
    for data in (b"first", b"other"):
        with pytest.raises(NotConnectedError):
            await uploads.upload_data(world.store, Attachment(data), ".png", Labels())
    with pytest.raises(BusyError, match=r"2 uploads with 10 bytes already wait .* not kept"):
        await uploads.upload_data(world.store, Attachment(b"third"), ".png", Labels())
    assert len(kept_files(world)) == 2


async def test_folders_of_labels_whose_data_was_delivered_do_not_stay_for_ever(
    world: World, uploads: Uploads
) -> None:
    for number in range(5):
        labels = Labels(tags=(f"{number}", "deep"), dataset_ids=(f"set-{number}",))
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", labels)
    folders = [path.name for path in (world.folder / "uploads").rglob("*") if path.is_dir()]
    assert sorted(folders) == ["dataset=set-4", "tag=4", "tag=deep"]
    await world.cable.cut()
    for tags in (("stays",), ("other",)):
        with pytest.raises(NotConnectedError):
            await uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels(tags=tags))
    assert [path.parent.name for path in sorted(kept_files(world))] == ["tag=other", "tag=stays"]


def test_what_a_crash_left_of_the_writing_goes_and_is_never_found_by_sync(tmp_path: Path) -> None:
    class Dies(FileSystem):
        def rename(self, source: str, target: str, identity: Identity | None = None) -> None:
            if "uploads" in target:
                raise KeyboardInterrupt
            super().rename(source, target, identity)

    path = kept.path_for(str(tmp_path), b"image", ".png", ["a"], [])
    with pytest.raises(KeyboardInterrupt):
        kept.keep(Dies(), str(tmp_path), path, b"image", None)
    (left,) = (path for path in tmp_path.rglob("*") if path.is_file())
    assert left.parent.name == ".holdfast" and left.suffix == ".prog"
    kept.remove_unfinished(FileSystem(), str(tmp_path))
    assert not left.exists()


async def test_a_disk_that_takes_nothing_is_an_error_and_nothing_is_kept(world: World, uploads: Uploads) -> None:
    (world.folder / "uploads").write_text("a file in the way")
    with pytest.raises(StorageError):
        await uploads.upload_data(world.store, Attachment(b"image"), ".png", Labels())
    assert world.cloud.calls["FileUpload"] == 0


def test_the_name_follows_from_the_content_and_the_labels_not_from_their_order(tmp_path: Path) -> None:
    one = kept.path_for("/c", b"x", ".png", ["b", "a", "a"], ["1"])
    assert one == kept.path_for("/c", b"x", ".png", ["a", "b"], ["1"])
    digest = hashlib.sha256(b"x").hexdigest()[:40]
    assert one == f"/c/uploads/dataset=1/tag=a/tag=b/{digest}.png"
    assert one != kept.path_for("/c", b"y", ".png", ["a", "b"], ["1"])


@pytest.mark.parametrize(("operation", "part"), [("remove", "/uploads/"), ("rename", "/failed/")])
async def test_data_that_is_just_settled_is_nobody_elses_before_that_has_ended(
    tmp_path: Path, operation: str, part: str
) -> None:
    """Otherwise sync would send a file that is not whole yet, or is just being deleted."""
    files = HeldUp(operation, part)
    async with make_world(tmp_path, files) as world:
        uploads = of(world, world.rounds.until_resumed)
        path = kept.path_for(world.store.root, b"abc", ".jpeg", (), ())
        await eventually(lambda: world.store.owned)
        if part == "/failed/":
            world.cloud.fail_next(INVALID, 2)
            with pytest.raises(NotConnectedError):
                await uploads.upload_data(world.store, Attachment(b"abc"), ".jpeg", Labels())
            await accept_something(world.link)
        caller = asyncio.create_task(uploads.upload_data(world.store, Attachment(b"abc"), ".jpeg", Labels()))
        await eventually(upload_tasks)
        (task,) = upload_tasks()
        await files.cancelled(task, task.cancel, lambda: world.store.claims.try_claim(path))
        with pytest.raises(NotConnectedError):
            await caller


async def test_a_file_that_just_goes_is_claimed_until_it_has_gone(tmp_path: Path) -> None:
    files = HeldUp("remove", "photo.jpeg")
    async with make_world(tmp_path, files) as world:
        uploads, candidate = of(world, world.rounds.until_resumed), synced(world)
        await world.connected()
        task = asyncio.create_task(uploads.upload_file(candidate, Labels()))
        await files.cancelled(task, task.cancel, lambda: world.store.claims.try_claim(candidate.path))
        assert not os.path.exists(candidate.path)


async def test_a_file_that_was_just_being_opened_is_closed_again(tmp_path: Path) -> None:
    files = HeldUp("open_beneath", "photo.jpeg")
    closed: list[str] = []
    close = files.close

    def noted(descriptor: int, path: str) -> None:
        close(descriptor, path)
        closed.append(path)

    files.close = noted  # type: ignore[method-assign]
    async with make_world(tmp_path, files) as world:
        uploads, candidate = of(world, world.rounds.until_resumed), elsewhere(world)
        await world.connected()
        task = asyncio.create_task(uploads.upload_file(candidate, Labels()))
        await files.cancelled(task, task.cancel, lambda: closed == [candidate.path])
