"""A path means the folder that the builtin would use; where that can't be known, it is a problem."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.config import Config, Host, parse

NOWHERE = Host("/home/user")
"""A host that does not say where viam-server was started."""
HOMELESS = Host(viam_home=".viam", working_folder="/srv/viam")
"""The host of a system service, which has no HOME."""


def every_path(path: str) -> dict[str, Any]:
    entry = {"name": "a", "method": "Readings", "capture_frequency_hz": 1.0, "capture_directory": path}
    return {
        "capture_dir": path,
        "capture_methods": [entry],
        "additional_sync_paths": [path, "/logs"],
        "upload_roots": [path],
        "local_copy": {"dir": path},
    }


def without_copy(path: str) -> dict[str, Any]:
    return every_path(path) | {"local_copy": None}


def folders(config: Config) -> tuple[object, ...]:
    (method,) = config.methods
    return config.capture_dir, method.capture_directory, config.additional_sync_paths, config.upload_roots


def test_a_relative_path_is_relative_to_the_folder_in_which_viam_server_was_started() -> None:
    found = parse(without_copy("data/../x"), Host("/home/user", working_folder="/srv/viam"))
    assert folders(found) == ("/srv/viam/x", "/srv/viam/x", ("/srv/viam/x", "/logs"), ("/srv/viam/x",))
    copied = parse({"local_copy": {"dir": "kept"}}, Host("/home/user", working_folder="/srv/viam"))
    assert copied.local_copy is not None and copied.local_copy.folder == "/srv/viam/kept"
    assert found.problems == copied.problems == ()


@pytest.mark.parametrize(
    ("host", "path", "why", "capture_dir"),
    [
        (NOWHERE, "data", "the folder in which viam-server was started", "/home/user/.viam/capture"),
        (NOWHERE, "./~/data", "the folder in which viam-server was started", "/home/user/.viam/capture"),
        (HOMELESS, "~/data", "runs without HOME", "/srv/viam/.viam/capture"),
        (HOMELESS, "~", "runs without HOME", "/srv/viam/.viam/capture"),
        (Host(), "~data", "runs without HOME", "/.viam/capture"),
    ],
)
def test_a_path_of_which_it_can_not_be_known_what_it_means_is_a_problem_and_data_is_kept_all_the_same(
    host: Host, path: str, why: str, capture_dir: str
) -> None:
    found = parse(every_path(path), host)
    assert folders(found) == (capture_dir, "", ("/logs",), ())
    assert found.local_copy is None
    named = [problem.partition(": ") for problem in found.problems]
    assert [attribute.partition(" ")[0].partition("[")[0] for attribute, _, _ in named] == [
        "capture_dir", "local_copy.dir", "capture_methods", "additional_sync_paths", "upload_roots",
    ]  # fmt: skip
    for _, _, said in named:
        assert said.startswith(f"{path!r}: ") and why in said and said.endswith("; write an absolute path")
    assert f"captured data is kept in {capture_dir}" in found.problems[0]


def test_a_default_of_which_it_can_not_be_known_what_it_means_is_said() -> None:
    found = parse({}, Host(viam_home=".viam"))
    (problem,) = found.problems
    assert found.capture_dir == "/.viam/capture" and problem.startswith(
        "capture_dir: the default is .viam/capture;"
    )
    assert parse({"capture_dir": "/data"}, Host()).problems == ()
    assert parse({}, NOWHERE).problems == ()


def test_upload_roots_of_which_none_is_known_do_not_become_all_sync_paths() -> None:
    assert parse({"upload_roots": ["data"]}, NOWHERE).upload_roots == ()
    assert parse({"upload_roots": [""]}, NOWHERE).upload_roots is None
