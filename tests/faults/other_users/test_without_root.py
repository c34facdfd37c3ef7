"""A module that does not run as root: what is usual in the home of its user works, and is no problem."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from .neighbour import THIRD_UID, UID
from .place import Place
from .plants import name_of


def in_a_home(place: Place) -> Path:
    return place.home / ".viam" / "capture"


def in_a_home_that_the_own_group_may_write(place: Place) -> Path:
    """As useradd makes them with a umask of 002."""
    place.neighbour.do("chmod", place.home, 0o775)
    return in_a_home(place)


def in_a_folder_that_the_own_group_may_write(place: Place) -> Path:
    return place.neighbour.folder(place.home / "captured", 0o775)


def behind_an_own_link(place: Place) -> Path:
    place.neighbour.folder(place.home / "disk")
    return place.neighbour.link("disk", place.home / "captured") / "inner"


def behind_a_link_of_root(place: Place) -> Path:
    place.neighbour.folder(place.home / "disk")
    (place.base / "link").symlink_to(place.home / "disk")
    return place.base / "link"


@pytest.mark.parametrize(
    "capture_dir",
    [
        in_a_home,
        in_a_home_that_the_own_group_may_write,
        in_a_folder_that_the_own_group_may_write,
        behind_an_own_link,
        behind_a_link_of_root,
    ],
    ids=name_of,
)
async def test_an_own_folder_works_and_is_no_problem(capture_dir: Callable[[Place], Path], place: Place) -> None:
    captured = place.neighbour.do("capture", capture_dir(place))
    assert (captured["waiting_for"], captured["problem"], len(captured["files"])) == ("", "", 1)


@pytest.mark.parametrize(
    ("owner", "group", "mode", "who"),
    [
        (UID, UID, 0o777, "all users"),
        (UID, THIRD_UID, 0o775, f"the group with the id {THIRD_UID}"),
        (THIRD_UID, UID, 0o775, f"the user with the id {THIRD_UID}"),
    ],
)
async def test_a_folder_that_others_may_write_works_and_is_a_problem(
    owner: int, group: int, mode: int, who: str, place: Place
) -> None:
    folder = place.base / "captured"
    folder.mkdir()
    os.chown(folder, owner, group)
    folder.chmod(mode)
    captured = place.neighbour.do("capture", folder)
    assert (captured["waiting_for"], len(captured["files"])) == ("", 1)
    assert str(folder) in captured["problem"] and who in captured["problem"]


async def test_a_state_folder_of_a_third_user_is_not_used(place: Place) -> None:
    folder = place.base / "captured"
    (folder / ".holdfast").mkdir(parents=True)
    os.chown(folder / ".holdfast", THIRD_UID, THIRD_UID)
    folder.chmod(0o777)
    captured = place.neighbour.do("capture", folder)
    assert str(folder / ".holdfast") in captured["waiting_for"] and len(captured["files"]) == 1
    assert os.listdir(folder / ".holdfast") == []
