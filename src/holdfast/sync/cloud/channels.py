"""gRPC's channels to the cloud, and how much they read of its answers.

All channels of one connect lead over the same way. What an answer may hold is bounded, since anything may stand at
the cloud's address; gRPC's own bound for an error's text, 8 KiB, is so low that the code would be lost with it.
"""

from __future__ import annotations

import grpc
import grpc.aio

from ...config import joined
from ..way.roots import Roots
from ..way.tunnel import Tunnel
from ..way.way import Way
from .connections import Connections

MAX_METADATA_BYTES = 256 * 1024
"""What is read of an answer's metadata, of which an error's text is a part."""
MAX_MESSAGE_BYTES = 1024 * 1024
"""What is read of an answer's message, before and after decompression. The largest that is known is a login's."""


class Channels:
    """The pools of channels over one way: `calls` for unary calls, `streams` for streams.

    Without `trusted` they are in plaintext. `tunnel` is what leads through the way's proxy, if it has one.
    """

    def __init__(self, way: Way, trusted: Roots | None, tunnel: Tunnel | None) -> None:
        target = f"{'ipv6' if ':' in way.address else 'ipv4'}:{joined(way.address, way.port)}"
        if tunnel is not None:
            target = tunnel.target
        options = _options(way)
        if trusted is None:
            self.calls = Connections(lambda: grpc.aio.insecure_channel(target, options=options))
            self.streams = Connections(lambda: grpc.insecure_channel(target, options=options))
        else:
            credentials = grpc.ssl_channel_credentials(trusted.pem)
            self.calls = Connections(lambda: grpc.aio.secure_channel(target, credentials, options=options))
            self.streams = Connections(lambda: grpc.secure_channel(target, credentials, options=options))


def _options(way: Way) -> list[tuple[str, int | str]]:
    return [
        ("grpc.enable_http_proxy", 0),
        ("grpc.enable_retries", 0),
        ("grpc.use_local_subchannel_pool", 1),
        # gRPC measures connections by pings. Behind what a slow link has to send they would be given up after
        # a minute, and the connection with them.
        ("grpc.http2.bdp_probe", 0),
        ("grpc.max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
        ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
        ("grpc.default_authority", str(way.endpoint)),
        ("grpc.ssl_target_name_override", way.endpoint.host),
    ]
