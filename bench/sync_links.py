"""This module measures how well sync uses a long and narrow link, and a receiver whose window is small."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import grpc
import grpc.aio

from .report import Row
from .sync_files import READINGS_OF_64_KIB, content
from .sync_rates import OURS_LIMIT_S, Scale, ratio
from .sync_side import Side, a_side, say

_LONG_S = 0.2
_BYTES_PER_S = 20_000_000
_WIDE_BYTES, _NARROW_BYTES = 8 * 1024 * 1024, 65_535
_ONE_CONNECTION_S, _CALLS = 8.0, 8
_UPLOAD = "/viam.app.datasync.v1.DataSyncService/DataCaptureUpload"


async def share(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures how much of a long and narrow link one large file fills."""
    async with a_side(binary, folder / "ours", builtin=False, window_bytes=_WIDE_BYTES) as side:
        side.link.rtt_s, side.link.bytes_per_s = _LONG_S, _BYTES_PER_S
        value = await side.upload_large(scale.large_bytes) / _BYTES_PER_S * 100
    name = f"one file of {scale.large_bytes >> 20} MiB, 200 ms, 20 MB/s, window 8 MiB: share of the link"
    return [Row(name, value, " %", 90.0, at_most=False)]


async def windows(binary: Path, folder: Path, scale: Scale) -> list[Row]:
    """Measures small files to a receiver with a fixed window of 64 KiB, relative to one gRPC connection."""
    program = "bench.narrow_receiver"
    async with a_side(binary, folder / "ours", builtin=False, window_bytes=_NARROW_BYTES, receiver=program) as side:
        side.link.rtt_s = _LONG_S
        one = await _one_connection(side)
        drained = await side.drain(scale.files // 10, READINGS_OF_64_KIB, OURS_LIMIT_S)
    say(f"window of 64 KiB, 200 ms: one connection {one / 1e6:.2f} MB/s, ours {drained.bytes_per_s / 1e6:.2f} MB/s")
    name = "files of 64 KiB, 200 ms, window 64 KiB: ours ÷ one connection"
    return [ratio(name, [drained.bytes_per_s / 1e6], [one / 1e6], "MB/s", 3)]


async def _one_connection(side: Side) -> float:
    """Returns the bytes per second of one connection with several calls in flight, of one file each."""
    request = content(0, READINGS_OF_64_KIB, builtin=True)
    sent_bytes = 0
    async with grpc.aio.insecure_channel(f"127.0.0.1:{side.link.port}") as channel:
        call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(_UPLOAD)
        await call(b"")
        began_s = time.monotonic()

        async def send() -> None:
            nonlocal sent_bytes
            while time.monotonic() < began_s + _ONE_CONNECTION_S:
                await call(request)
                sent_bytes += len(request)

        await asyncio.gather(*(send() for _ in range(_CALLS)))
        return sent_bytes / (time.monotonic() - began_s)
