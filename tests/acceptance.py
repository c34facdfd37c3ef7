"""What makes a cloud that refuses something believed."""

from __future__ import annotations

from holdfast.sync.cloud.link import Link


async def accept_something(link: Link) -> None:
    """Has the link take note that the cloud has accepted a call, of something else than a test sends."""
    link.note_success(await link.admit_call(wait=True))
