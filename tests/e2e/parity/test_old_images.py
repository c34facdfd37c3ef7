"""Old files of camera.GetImages: what arrives of them is what the builtin makes of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.storage import samples

from .delivery import both_deliver

ANSWERS: dict[str, tuple[dict[str, bytes], dict[str, Any]]] = {
    "two": ({"left": b"\xff\xd8\xff\x00", "right": bytes(range(256))}, {"tags": ["a", "b"]}),
    "large": ({"left": b"\x00\x01" * 30_000, "right": b"\xfe" * 45_000}, {"file_extension": ".dat"}),
    "typed": ({"left": b"\x89PNG"}, {"mime_type": "image/png"}),
    "empty": ({"left": b""}, {}),
    "none": ({}, {}),
}
"""Of a camera of that name: its images, and what its header has beside the name."""


@pytest.fixture
def files(tmp_path: Path) -> dict[Path, Path]:
    found = {}
    for name, (images, changes) in ANSWERS.items():
        place = Path("rdk_component_camera", name, "GetImages", "2024-05-06T07_08_09.123456Z.capture")
        header = samples.old_images_header(component_name=name, **changes)
        original = found[place] = tmp_path / f"{name}.capture"
        original.write_bytes(samples.builtin_file(header, [samples.old_images_reading(images)]))
    return found


async def test_old_images_arrive_as_the_builtin_delivers_them(
    files: dict[Path, Path], viam_server_binary: Path, tmp_path: Path
) -> None:
    count = sum(len(images) for images, _ in ANSWERS.values())
    builtin, ours = await both_deliver(viam_server_binary, tmp_path, files, count, count)
    assert sum(map(len, ours.values())) == 2 * count  # a reading and its payload
    assert builtin == ours


async def test_of_several_readings_in_an_old_file_the_builtin_delivers_the_first_and_we_all(
    viam_server_binary: Path, tmp_path: Path
) -> None:
    readings = [samples.old_images_reading({"left": bytes([n]), "right": b"x"}, n) for n in range(3)]
    original = tmp_path / "eye.capture"
    original.write_bytes(samples.builtin_file(samples.old_images_header(), readings))
    place = Path("rdk_component_camera", "eye", "GetImages", "2024-05-06T07_08_09.123456Z.capture")
    (builtin,), (ours,) = (
        texts.values() for texts in await both_deliver(viam_server_binary, tmp_path, {place: original}, 2, 6)
    )
    assert (len(builtin), len(ours)) == (2 * 2, 2 * 6)
    assert set(builtin) < set(ours)
