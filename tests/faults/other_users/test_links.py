"""Links that another user puts where root's module finds files: what they lead to is sent only if it is theirs."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from holdfast.storage.quarantine.listing import quarantined_files
from tests.sync.conftest import World, make_world, write_old_file
from tests.waiting import eventually

from .place import Place

ROUNDS = 3


@pytest.fixture
async def world(place: Place) -> AsyncIterator[World]:
    folder = place.base / "module"
    folder.mkdir()
    async with make_world(folder) as made:
        yield made


async def synced(world: World, *paths: Path) -> None:
    """Syncs these paths, until some rounds have gone through all of them and what can arrive has arrived."""
    world.rounds.configure(world.settings(additional_paths=tuple(map(str, paths))))
    beside = write_old_file(world.folder / "beside.txt", b"beside")
    await eventually(lambda: not beside.exists())
    done = world.completed + ROUNDS
    await eventually(lambda: world.completed > done)


def arrived(world: World) -> list[bytes]:
    """What arrived, but for the file of `synced`."""
    return sorted(content for _, content in world.arrived.files if content != b"beside")


def to_a_key(place: Place) -> Path:
    return place.neighbour.link(place.key, place.logs / "a.txt")


def to_a_key_by_a_relative_path(place: Place) -> Path:
    return place.neighbour.link("../../etc/ssl/key.pem", place.logs / "a.txt")


def to_a_link_to_a_key(place: Place) -> Path:
    place.neighbour.link(place.key, place.home / "second")
    return place.neighbour.link(place.home / "second", place.logs / "a.txt")


def by_a_folder_that_is_a_link(place: Place) -> Path:
    place.neighbour.link(place.etc / "ssl", place.home / "ssl")
    return place.neighbour.link("../ssl/key.pem", place.logs / "a.txt")


def by_the_root_of_a_process(place: Place) -> Path:
    return place.neighbour.link(f"/proc/{os.getpid()}/root{place.key}", place.logs / "a.txt")


def by_what_follows_it_as_oneself(place: Place) -> Path:
    return place.neighbour.link(f"/proc/self/root{place.key}", place.logs / "a.txt")


def to_what_anybody_may_read(place: Place) -> Path:
    return place.neighbour.link(place.etc / "shared.txt", place.logs / "a.txt")


def to_what_a_third_user_owns(place: Place) -> Path:
    return place.neighbour.link(place.third / "diary.txt", place.logs / "a.txt")


def of_root_in_a_folder_of_the_neighbour(place: Place) -> Path:
    """The neighbour can move such a link here from elsewhere, so its owner says nothing."""
    (place.logs / "a.txt").symlink_to(place.key)
    return place.logs / "a.txt"


def in_a_folder_of_a_folder(place: Place) -> Path:
    place.neighbour.folder(place.logs / "deep")
    return place.neighbour.link(place.key, place.logs / "deep" / "a.txt")


def with_the_name_of_a_capture_file(place: Place) -> Path:
    return place.neighbour.link(place.key, place.logs / "2023-11-14T22_13_20.123456Z.capture")


def with_the_name_of_a_sequence(place: Place) -> Path:
    place.neighbour.folder(place.logs / "sequences")
    return place.neighbour.link(place.key, place.logs / "sequences" / "a.seq")


LEADS_AWAY = [
    to_a_key,
    to_a_key_by_a_relative_path,
    to_a_link_to_a_key,
    by_a_folder_that_is_a_link,
    by_the_root_of_a_process,
    by_what_follows_it_as_oneself,
    to_what_anybody_may_read,
    to_what_a_third_user_owns,
    of_root_in_a_folder_of_the_neighbour,
    in_a_folder_of_a_folder,
    with_the_name_of_a_capture_file,
    with_the_name_of_a_sequence,
]


def ids(plant: Callable[[Place], object]) -> str:
    return plant.__name__.replace("_", " ")


@pytest.mark.parametrize("plant", LEADS_AWAY, ids=ids)
async def test_a_link_to_what_is_not_the_neighbours_is_neither_followed_nor_deleted_and_that_is_said(
    plant: Callable[[Place], Path], place: Place, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    link, before = plant(place), place.untouchable()
    place.neighbour.file(place.logs / "own.txt", "own")
    await synced(world, place.logs)
    assert arrived(world) == [b"own"]
    assert place.untouchable() == before
    assert link.is_symlink()
    assert any(str(link) in line and "link" in line for line in caplog.messages)


def to_ones_own_file(place: Place) -> None:
    place.neighbour.link(place.neighbour.file(place.home / "target.txt", "target"), place.logs / "a.txt")


def to_ones_own_file_by_a_relative_path(place: Place) -> None:
    place.neighbour.file(place.home / "target.txt", "target")
    place.neighbour.link("../target.txt", place.logs / "a.txt")


def to_ones_own_private_file(place: Place) -> None:
    place.neighbour.file(place.home / "target.txt", "target", 0o600)
    place.neighbour.link(place.home / "target.txt", place.logs / "a.txt")


def by_ones_own_folder(place: Place) -> None:
    place.neighbour.file(place.home / "target.txt", "target")
    place.neighbour.link(place.home, place.logs / "up")
    place.neighbour.link("up/target.txt", place.logs / "a.txt")


@pytest.mark.parametrize(
    "plant",
    [to_ones_own_file, to_ones_own_file_by_a_relative_path, to_ones_own_private_file, by_ones_own_folder],
    ids=ids,
)
async def test_a_link_to_what_is_the_neighbours_is_sent_and_deleted_and_its_target_stays(
    plant: Callable[[Place], None], place: Place, world: World
) -> None:
    plant(place)
    await synced(world, place.logs)
    assert arrived(world) == [b"target"]
    assert not os.path.lexists(place.logs / "a.txt")
    assert (place.home / "target.txt").read_text() == "target"


def a_folder_of_root(place: Place) -> Path:
    folder = place.base / "root-logs"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("target", ["etc/ssl/key.pem", "third/diary.txt", "home/own.txt"])
async def test_a_link_of_root_in_a_folder_of_root_is_followed_wherever_it_leads(
    target: str, place: Place, world: World
) -> None:
    place.neighbour.file(place.home / "own.txt", "own")
    folder, before = a_folder_of_root(place), place.untouchable()
    (folder / "a.txt").symlink_to(place.base / target)
    await synced(world, folder)
    assert arrived(world) == [(place.base / target).read_bytes()]
    assert os.listdir(folder) == [] and place.untouchable() == before


async def test_a_folder_of_root_that_is_reached_by_roots_link_is_synced(place: Place, world: World) -> None:
    folder = a_folder_of_root(place)
    write_old_file(folder / "a.txt", b"a")
    (place.base / "link").symlink_to(folder)
    await synced(world, place.base / "link")
    assert arrived(world) == [b"a"] and os.listdir(folder) == []


def the_path_itself(place: Place) -> Path:
    """The neighbour has put a link where the sync path was."""
    place.neighbour.do("rename", place.logs, place.home / "logs-before")
    place.neighbour.link(place.etc / "logs", place.logs)
    return place.logs


def a_folder_above_it(place: Place) -> Path:
    place.neighbour.folder(place.home / "app")
    place.neighbour.do("rename", place.home / "app", place.home / "app-before")
    place.neighbour.link(place.etc, place.home / "app")
    return place.home / "app" / "logs"


def a_single_file(place: Place) -> Path:
    return place.neighbour.link(place.etc / "logs" / "app.txt", place.logs / "app.txt")


def a_single_file_behind_a_link(place: Place) -> Path:
    place.neighbour.link(place.etc / "logs", place.home / "app")
    return place.home / "app" / "app.txt"


def a_link_to_a_folder_of_a_third_user(place: Place) -> Path:
    return place.neighbour.link(place.third, place.home / "app")


@pytest.mark.parametrize(
    "plant",
    [
        the_path_itself,
        a_folder_above_it,
        a_single_file,
        a_single_file_behind_a_link,
        a_link_to_a_folder_of_a_third_user,
    ],
    ids=ids,
)
async def test_a_sync_path_that_the_neighbour_led_elsewhere_is_not_synced_and_that_is_a_problem(
    plant: Callable[[Place], Path], place: Place, world: World
) -> None:
    path, before = plant(place), place.untouchable()
    await synced(world, path)
    assert arrived(world) == []
    assert place.untouchable() == before
    assert any(str(path) in problem and "link" in problem for problem in world.rounds.additional.problems)


async def test_a_sync_path_that_the_neighbour_led_to_an_own_folder_is_synced(place: Place, world: World) -> None:
    place.neighbour.file(place.neighbour.folder(place.home / "other") / "own.txt", "own")
    link = place.neighbour.link(place.home / "other", place.home / "link")
    await synced(world, link)
    assert arrived(world) == [b"own"] and not list((place.home / "other").iterdir())


async def test_a_folder_that_is_a_link_in_a_sync_path_is_not_entered(place: Place, world: World) -> None:
    before = place.untouchable()
    place.neighbour.link(place.etc, place.logs / "etc")
    place.neighbour.file(place.logs / "own.txt", "own")
    await synced(world, place.logs)
    assert arrived(world) == [b"own"] and place.untouchable() == before


@pytest.mark.parametrize("whose", ["etc/ssl/key.pem", "etc/shared.txt", "third/diary.txt"])
async def test_a_second_name_of_a_file_of_others_is_not_sent_from_where_the_neighbour_writes(
    whose: str, place: Place, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    """Where the kernel lets anybody make hard links (fs.protected_hardlinks is 0), the neighbour can make this one;
    here root makes it."""
    os.link(place.base / whose, place.logs / "a.txt")
    place.neighbour.file(place.logs / "own.txt", "own")
    await synced(world, place.logs)
    assert arrived(world) == [b"own"]
    assert (place.logs / "a.txt").stat().st_nlink == 2
    assert any(str(place.logs / "a.txt") in line for line in caplog.messages)


async def test_a_file_of_the_neighbour_with_two_names_is_sent_under_each(place: Place, world: World) -> None:
    place.neighbour.file(place.logs / "one.txt", "own")
    place.neighbour.do("hard_link", place.logs / "one.txt", place.logs / "two.txt")
    await synced(world, place.logs)
    assert arrived(world) == [b"own", b"own"] and not list(place.logs.iterdir())


async def test_a_link_that_the_neighbour_put_into_failed_is_not_followed(place: Place, world: World) -> None:
    place.neighbour.folder(place.logs / "failed")
    place.neighbour.link(place.key, place.logs / "failed" / "a.txt")
    before = place.untouchable()
    await synced(world, place.logs)
    found = list(quarantined_files(world.files, [str(world.folder)], [str(place.logs)]))
    assert found == [] and arrived(world) == [] and place.untouchable() == before
