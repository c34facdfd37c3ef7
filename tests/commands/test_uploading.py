"""Uploads by command: a file, a folder, or data, and never anything from outside the roots."""

from __future__ import annotations

import base64
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from viam.proto.app.datasync import UploadMetadata

from holdfast.base.filesystem import FileSystem
from holdfast.errors import CommandError, NotConnectedError, NotReadyError
from tests.acceptance import accept_something
from tests.steered import Steered, steered
from tests.waiting import eventually

IMAGE = base64.b64encode(b"image").decode()


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Steered]:
    async with steered(tmp_path) as world:
        for name in ("logs", "photos", "private"):
            (tmp_path / name).mkdir()
        world.apply("a", capture_disabled=True, additional_sync_paths=[str(tmp_path / "logs")])
        await eventually(lambda: world.manager.engine is not None and world.manager.engine.store.owned)
        yield world


@pytest.fixture
def arrived(world: Steered) -> list[UploadMetadata]:
    files: list[UploadMetadata] = []
    world.cloud._on_file = lambda about, path: files.append(about)
    return files


def with_roots(world: Steered, *names: str) -> None:
    world.apply("a", capture_disabled=True, upload_roots=[str(world.folder / name) for name in names])


async def test_a_file_is_uploaded_with_tags_and_datasets_and_told(
    world: Steered, arrived: list[UploadMetadata]
) -> None:
    path = world.folder / "logs" / "a.log"
    path.write_text("12345")
    answer = await world.command("upload", path=str(path), tags=["t"], dataset_ids=["d"])
    assert (answer["done"], answer["files"], answer["bytes"], answer["failed_count"]) == (True, 1, 5, 0)
    assert len(answer["ids"]) == 1 and answer["ids"][0]
    (about,) = arrived
    assert (list(about.tags), list(about.dataset_ids), about.file_name) == (["t"], ["d"], str(path))
    assert not path.exists(), "sync would have deleted it too"


async def test_the_event_loop_waits_for_no_upload_root(world: Steered, monkeypatch: pytest.MonkeyPatch) -> None:
    looking: set[threading.Thread] = set()
    real = FileSystem.real_path

    def real_path(files: FileSystem, path: str) -> str:
        looking.add(threading.current_thread())
        return real(files, path)

    monkeypatch.setattr(FileSystem, "real_path", real_path)
    (world.folder / "logs" / "a.log").write_text("1")
    await world.command("upload", path=str(world.folder / "logs"))
    assert looking and threading.main_thread() not in looking


async def test_a_folder_is_uploaded_and_what_fails_in_it_is_told_by_name(
    world: Steered, arrived: list[UploadMetadata]
) -> None:
    photos = world.folder / "photos"
    with_roots(world, "photos")
    for name in ("a.jpeg", "deep/b.jpeg", "deep/empty.jpeg", "deep/x.capture"):
        (photos / name).parent.mkdir(exist_ok=True)
        (photos / name).write_text("" if "empty" in name else "12345")
    (photos / "shadow").symlink_to("/etc/hostname")
    answer = await world.command("upload", path=str(photos), tags=["t"])
    assert (answer["files"], answer["bytes"], len(answer["ids"])) == (2, 10, 2)
    assert answer["failed"] == [{"path": str(photos / "deep/empty.jpeg"), "why": "it is empty"}]
    assert answer["failed_count"] == 1 and answer["skipped_count"] == 2
    assert {row["why"] for row in answer["skipped"]} == {
        "it leads out of upload_roots", "it is captured data, which sync sends"
    }  # fmt: skip
    assert sorted(about.file_name for about in arrived) == [str(photos / "a.jpeg"), str(photos / "deep/b.jpeg")]
    assert (photos / "a.jpeg").exists(), "what is not under a sync path is the user's"


async def test_nothing_outside_of_the_roots_is_ever_read(world: Steered) -> None:
    (world.folder / "private" / "key").write_text("secret")
    link = world.folder / "logs" / "innocent"
    link.symlink_to(world.folder / "private" / "key")
    for path in ("/etc/shadow", str(world.folder / "private" / "key"), str(link)):
        with pytest.raises(CommandError, match=r"is not in one of upload_roots, which are: .*/capture, .*/logs"):
            await world.command("upload", path=path)
    assert world.cloud.calls["FileUpload"] == 0 and world.manager.jobs.all() == []
    with_roots(world, "photos")
    with pytest.raises(CommandError, match=r"upload_roots, which are: [^,]*/photos$"):
        await world.command("upload", path=str(world.folder / "logs"))


async def test_data_is_uploaded_by_its_mime_type(world: Steered, arrived: list[UploadMetadata]) -> None:
    answer = await world.command("upload", data=IMAGE, mime_type="image/jpeg", dataset_ids=["d"], tags=["t"])
    assert (answer["files"], answer["bytes"], len(answer["ids"])) == (1, 5, 1)
    await world.command("upload", data=IMAGE, mime_type="text/csv")
    assert [(about.file_extension, list(about.dataset_ids)) for about in arrived] == [
        (".jpeg", ["d"]),
        (".csv", []),
    ]


async def test_data_that_can_not_be_delivered_is_an_error_that_says_what_becomes_of_it(world: Steered) -> None:
    assert world.manager.engine is not None
    world.cloud.fail_next(grpc.StatusCode.INVALID_ARGUMENT, 2)
    with pytest.raises(NotConnectedError, match=r"INVALID_ARGUMENT.*it is kept as .*/uploads/.*\.jpeg"):
        await world.command("upload", data=IMAGE, mime_type="image/jpeg")
    await accept_something(world.manager.engine.uplink.link)
    with pytest.raises(CommandError, match="refused by the cloud"):
        await world.command("upload", data=IMAGE, mime_type="image/jpeg")
    world.cloud.fail_next(grpc.StatusCode.INTERNAL, 1)
    with pytest.raises(NotConnectedError, match=r"INTERNAL.*it is kept as .*/uploads/.*\.jpeg"):
        await world.command("upload", data=IMAGE, mime_type="image/jpeg")


async def test_an_upload_of_a_path_without_a_link_is_an_error_and_the_file_stays(world: Steered) -> None:
    path = world.folder / "logs" / "a.log"
    path.write_text("x")
    await world.cut_off()
    with pytest.raises(NotConnectedError, match="not connected to the cloud"):
        await world.command("upload", path=str(path))
    assert path.exists()


async def test_it_is_a_job_where_nobody_waits(world: Steered) -> None:
    (world.folder / "logs" / "a.log").write_text("x")
    begun = await world.command("upload", path=str(world.folder / "logs"), wait=False)
    job = world.manager.jobs.find(begun["job"])
    assert job is not None and begun["kind"] == "upload"
    await job.wait(None)
    assert job.tell()["files"] == 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({}, "either path or data"),
        ({"path": "/x", "data": IMAGE}, "either path or data"),
        ({"path": "/x", "mime_type": "image/png"}, "mime_type belongs to data"),
        ({"data": IMAGE}, "mime_type is missing"),
        ({"data": IMAGE, "mime_type": "image/jepg"}, "did you mean 'image/jpeg'"),
        ({"data": "no base64!", "mime_type": "image/png"}, "data must be base64"),
        ({"data": IMAGE, "mime_type": "image/png", "tags": "t"}, "tags must be a list of strings"),
        ({"data": IMAGE, "mime_type": "image/png", "tags": ["a/b"]}, "without '/'"),
        ({"path": 5.0}, "path must be a string"),
    ],
)
async def test_an_argument_that_can_not_be_is_named(world: Steered, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(CommandError) as refused:
        await world.command("upload", **arguments)
    assert told in str(refused.value) and world.cloud.calls["FileUpload"] == 0


async def test_before_the_first_config_nothing_is_uploaded(tmp_path: Path) -> None:
    async with steered(tmp_path) as world:
        for arguments in ({"path": "/x"}, {"data": IMAGE, "mime_type": "image/png"}):
            with pytest.raises(NotReadyError, match="not configured"):
                await world.command("upload", **arguments)


async def test_a_sync_path_that_is_a_file_may_be_uploaded_and_what_lies_beside_it_may_not(
    world: Steered, arrived: list[UploadMetadata]
) -> None:
    path, beside = world.folder / "logs" / "a.log", world.folder / "logs" / "b.log"
    for each in (path, beside):
        each.write_text("x")
    world.apply("a", capture_disabled=True, additional_sync_paths=[str(path)])
    answer = await world.command("upload", path=str(path))
    assert (answer["files"], answer["failed_count"]) == (1, 0)
    assert [about.file_name for about in arrived] == [str(path)] and not path.exists()
    with pytest.raises(CommandError, match="is not in one of upload_roots"):
        await world.command("upload", path=str(beside))
