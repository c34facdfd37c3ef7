"""Where earlier versions put relative paths is known, and folders in use are left alone."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.config import FormerFolder, Host, parse

PACKAGE = "/packages/holdfast-1_1_0"
OLD_PACKAGE = "/packages/holdfast-1_0_0"
HOST = Host("/home/user", working_folder="/srv", module_folders=(PACKAGE, OLD_PACKAGE))
METHOD = {"name": "a", "method": "Readings", "capture_frequency_hz": 1.0}


def found(host: Host = HOST, **attributes: Any) -> list[FormerFolder]:
    folders = parse(attributes, host).former_folders
    return [each for each in folders if not each.former.startswith("/dev/shm")]


def test_a_relative_folder_was_in_the_package_of_each_version() -> None:
    assert found(capture_dir="data") == [
        ("capture_dir", f"{PACKAGE}/data", "/srv/data", True),
        ("capture_dir", f"{OLD_PACKAGE}/data", "/srv/data", True),
    ]
    (first, _) = found(local_copy={"dir": "kept"}, capture_dir="/d")
    assert first == ("local_copy.dir", f"{PACKAGE}/kept", "/srv/kept", False)
    (first, _) = found(capture_methods=[{**METHOD, "capture_directory": "own"}])
    assert first[1:] == (f"{PACKAGE}/own", "/srv/own", True)


@pytest.mark.parametrize(
    ("host", "attributes", "former", "now"),
    [
        (Host(working_folder="/srv", module_folders=(PACKAGE,)), {}, ".viam/capture", "/srv/.viam/capture"),
        (
            Host(viam_home=".viam", working_folder="/srv", module_folders=(PACKAGE,)),
            {"capture_dir": "~/data"},
            "~/data",
            "/srv/.viam/capture",
        ),
        (
            Host("/home/user", module_folders=(PACKAGE,)),
            {"capture_dir": "data"},
            "data",
            "/home/user/.viam/capture",
        ),
    ],
)
def test_also_without_a_home_and_where_the_path_can_not_be_known(
    host: Host, attributes: dict[str, Any], former: str, now: str
) -> None:
    (folder,) = found(host, **attributes)
    assert folder == ("capture_dir", f"{PACKAGE}/{former}", now, True)


def test_a_path_of_its_own_for_one_method_that_can_not_be_known_goes_to_the_capture_folder() -> None:
    host = Host("/home/user", module_folders=(PACKAGE,))
    (folder,) = found(host, capture_methods=[{**METHOD, "capture_directory": "own"}], local_copy={"dir": "kept"})
    assert folder[1:] == (f"{PACKAGE}/own", "/home/user/.viam/capture", True)


def test_an_absolute_path_was_the_same_before() -> None:
    assert found(capture_dir="/data", local_copy={"dir": "~/kept"}) == found() == []


def test_a_folder_that_holds_the_program_or_is_in_use_is_left_alone() -> None:
    assert found(capture_dir=".") == found(capture_dir="..") == []
    own = [{**METHOD, "capture_directory": f"{PACKAGE}/data/own"}]
    assert [folder.former for folder in found(capture_dir="data", capture_methods=own)] == [f"{OLD_PACKAGE}/data"]
    in_the_package = Host("/home/user", working_folder=PACKAGE, module_folders=(PACKAGE,))
    assert found(in_the_package, capture_dir="data") == []


def test_the_folder_in_memory_follows_the_one_on_the_disk() -> None:
    host = Host("/home/user", working_folder="/srv", module_folders=(PACKAGE,))
    (memory,) = (each for each in parse({"capture_dir": "data"}, host).former_folders if "/dev/shm" in each.former)
    assert memory.former == parse({"capture_dir": f"{PACKAGE}/data"}, host).memory_dir
    assert memory.now == parse({"capture_dir": "data"}, host).memory_dir
