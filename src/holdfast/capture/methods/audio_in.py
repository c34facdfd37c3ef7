"""rdk:component:audio_in.

Audio is a stream that lasts as long as the collector's interval. The next call continues where it ended, so that
nothing is missing between two files.
"""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from viam.proto.common import AudioInfo
from viam.proto.component.audioin import GetAudioRequest

from ...base.filesystem import Buffer
from ...base.mime_types import MPEG, UNKNOWN, WAV
from . import fields
from .common import of_component
from .method import (
    MAX_PAYLOADS,
    Binary,
    BinaryAnswer,
    BinaryMethod,
    Method,
    Params,
    Target,
    decoded_part,
    from_data_management,
    unusable,
)
from .steps import Steps

API = "rdk:component:audio_in"
SERVICE = "viam.component.audioin.v1.AudioInService"
_AUDIO = 1
_AUDIO_DATA, _AUDIO_INFO, _END_TIMESTAMP = 1, 2, 4

_PCM = {"pcm16": (1, 16), "pcm32": (1, 32), "pcm32_float": (3, 32)}
"""The WAV format code and bits per sample of each codec that becomes a WAV file."""
_WAV_HEADER = struct.Struct("<4sI8sIHHIIHH4sI")
_U16, _U32 = 0xFFFF, 0xFFFFFFFF


@dataclass
class _Chunk:
    data: memoryview
    rate_hz: int
    channels: int
    end_ns: int

    @classmethod
    def read(cls, answer: Buffer, steps: Steps) -> _Chunk:
        data, info, end_ns = memoryview(b""), None, 0
        for number, value in fields.each_field(fields.last(memoryview(answer), _AUDIO, steps), steps):
            if number == _AUDIO_DATA and isinstance(value, memoryview):
                data = value
            elif number == _AUDIO_INFO and isinstance(value, memoryview):
                info = decoded_part(AudioInfo, value, steps)
            elif number == _END_TIMESTAMP and isinstance(value, int):
                end_ns = value if value < 1 << 63 else 0  # a negative time counts as none
        if info is None:
            raise unusable("the component sent audio without its sample rate and channels")
        return cls(data, info.sample_rate_hz, info.num_channels, end_ns)


def _codec(params: Params, default: str = "pcm16") -> str:
    codec = params.get("codec", default)
    return codec if isinstance(codec, str) else ""


def _request(target: Target) -> bytes:
    return GetAudioRequest(
        name=target.name,
        duration_seconds=1.0 / target.frequency_hz,
        codec=_codec(target.params),
        previous_timestamp_nanoseconds=target.after_ns,
        request_id=str(uuid.uuid4()),
        extra=from_data_management(),
    ).SerializeToString()


def _audio(target: Target, answers: Sequence[Buffer], steps: Steps) -> BinaryAnswer:
    """Returns a file for each run of chunks that have the same format.

    An empty chunk of another format ends a run too.
    """
    codec, end_ns = _codec(target.params), target.after_ns
    runs: list[list[_Chunk]] = []
    for answer in answers:
        chunk = _Chunk.read(answer, steps)
        end_ns = chunk.end_ns
        if runs and not runs[-1][0].data:
            runs[-1] = [chunk]
        elif runs and (runs[-1][0].rate_hz, runs[-1][0].channels) == (chunk.rate_hz, chunk.channels):
            runs[-1].append(chunk)
        else:
            runs.append([chunk])
        if len(runs) > MAX_PAYLOADS:
            raise unusable(f"the audio changed its format more than {MAX_PAYLOADS} times")
    return BinaryAnswer(tuple(_file(run, codec) for run in runs if run[0].data), end_ns=end_ns)


def _file(run: list[_Chunk], codec: str) -> Binary:
    parts = tuple(chunk.data for chunk in run)
    if codec not in _PCM:
        return Binary(parts, MPEG if codec == "mp3" else UNKNOWN)
    return Binary((_wav_header(run[0], codec, parts), *parts), WAV)


def _wav_header(chunk: _Chunk, codec: str, parts: Iterable[memoryview]) -> bytes:
    form, bits = _PCM[codec]
    size = sum(map(len, parts))
    block = chunk.channels * bits // 8
    return _WAV_HEADER.pack(
        b"RIFF", 36 + size & _U32, b"WAVEfmt ", 16, form, chunk.channels & _U16, chunk.rate_hz & _U32,
        chunk.rate_hz * block & _U32, block & _U16, bits, b"data", size & _U32,
    )  # fmt: skip


def _extension(params: Params) -> str:
    codec = _codec(params, "")
    return ".wav" if codec in _PCM else ".mp3" if codec == "mp3" else ""


METHODS: Mapping[str, Method] = {
    # codec (pcm16) → a WAV file for PCM, else the bytes as they are
    "GetAudio": BinaryMethod(f"/{SERVICE}/GetAudio", _request, _audio, _extension, streamed=True, gapless=True),
    **of_component(SERVICE),
}
