"""The cloud: one login, and uploads over a few gRPC connections for unary calls and a few others for streams.

This is the boundary to the cloud: errors of gRPC become `CloudError` here. Which way connections take, and whose
certificates are trusted, is decided by `sync.way` at each connect; all connections take the same way, so that a
probe of it tells about all. Plaintext is sent to this computer only, unless the configuration allows more. The key
and the token appear in no error and no log.

Runs on the event loop; the messages of streams are taken on gRPC's threads.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
from google.protobuf.message import DecodeError
from viam.proto.rpc.auth import AuthenticateRequest, AuthenticateResponse, Credentials

from ...base.threads import in_own_thread
from ...config import endpoint, joined
from ...errors import CloudError, ConfigError
from ..way.proxies import Routes
from ..way.roots import Roots, roots
from ..way.trust import why_not_trusted
from ..way.tunnel import Tunnel
from ..way.way import Doubts, Way, find_way
from . import patience, streams
from .bandwidth import Bandwidth, Meter
from .connections import BUSY_BYTES, Connections
from .kernel import Figures
from .patience import Movement, Patience
from .token import Token
from .verdicts import Verdict, verdict

_AUTHENTICATE = "/proto.rpc.v1.AuthService/Authenticate"
_DATA_SYNC = "/viam.app.datasync.v1.DataSyncService/"
_CREATE_SEQUENCE = "/viam.app.data.v1.DataService/CreateSequence"
_CONNECT_TIMEOUT_S = 10.0
_READY = grpc.ChannelConnectivity.READY
_LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")

Reply = TypeVar("Reply")
_Call = Callable[[], Coroutine[Any, Any, Reply]]


@dataclass(frozen=True)
class CloudSettings:
    """The address of the cloud, and the machine part and key with which to log in. An empty key means none."""

    address: str
    allow_plaintext: bool
    part_id: str
    api_key_id: str = ""
    api_key: str = field(default="", repr=False)
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    """What names proxies and trusted certificates: the variables of `sync.way`."""

    @property
    def missing(self) -> str:
        """Which of the settings needed to connect are missing, as a text for users; empty if none is."""
        names = {
            "VIAM_API_KEY_ID": self.api_key_id,
            "VIAM_API_KEY": self.api_key,
            "VIAM_MACHINE_PART_ID": self.part_id,
        }
        missing = [name for name, value in names.items() if not value]
        if not missing:
            return ""
        return (
            f"no {' and no '.join(missing)} in the environment: viam-server gives these to modules of a machine "
            "that is connected to the cloud and has an API key; data is captured and kept until then"
        )


class Cloud:
    """The uploads to one cloud.

    `connect` must have succeeded before other calls, and may be called again. Every method that makes a call raises
    CloudError. `close` ends the calls that are under way.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings
        self._calls: Connections[grpc.aio.Channel] | None = None
        self._streams: Connections[grpc.Channel] | None = None
        self._way: Way | None = None
        self._tunnel: Tunnel | None = None
        self._doubts = Doubts()
        self._movement: Movement
        """The movement over all connections; set by `connect`."""
        self._seen = Figures()
        self._explanation = ("", "")
        """The last error of TLS, with the way, and why it came."""
        self._token = Token("")
        self._login = asyncio.Lock()
        self._under_way = 0
        self.problems: tuple[str, ...] = ()
        """What the environment says of proxies and certificates and can't be used, as texts for users."""
        self.bandwidth = Bandwidth()
        self.meter = Meter()

    @property
    def part_id(self) -> str:
        """The machine part for which everything is uploaded."""
        return self._settings.part_id

    @property
    def way(self) -> str:
        """How the cloud is reached, as a text for users; empty without a way."""
        return "" if self._way is None else str(self._way)

    async def connect(self) -> None:
        """Closes earlier connections, finds a way to the cloud, and logs in. Raises CloudError."""
        await self.close()
        settings = self._settings
        try:
            cloud = endpoint(settings.address, allow_plaintext=settings.allow_plaintext)
        except ConfigError as error:
            raise CloudError("INVALID_ADDRESS", str(error), connected=False) from error
        routes = Routes.to(cloud, settings.environment)
        self.problems = routes.problems
        way = self._way = await find_way(cloud, routes, self._doubts)
        trusted = None if cloud.is_plaintext else await asyncio.to_thread(roots, settings.environment)
        self.problems += trusted.problems if trusted else ()
        self._movement = Movement(way.port)
        self._open_channels(way, trusted)
        try:
            await self._authenticate()
        except CloudError as error:
            if verdict(error) is not Verdict.LOGIN:
                self._doubts.note(way)
            if error.code == "DEADLINE_EXCEEDED":
                raise CloudError(
                    error.code, f"nothing answers the login, {way}", connected=error.connected
                ) from error
            if trusted is not None and error.connected and error.code == "UNAVAILABLE":
                raise CloudError(error.code, await self._explained(error, way, trusted), connected=True) from error
            raise

    def _open_channels(self, way: Way, trusted: Roots | None) -> None:
        host = way.endpoint.host
        options = [
            ("grpc.enable_http_proxy", 0),
            ("grpc.enable_retries", 0),
            ("grpc.use_local_subchannel_pool", 1),
            # gRPC measures connections by pings. Behind what a slow link has to send they would be given up after
            # a minute, and the connection with them.
            ("grpc.http2.bdp_probe", 0),
            ("grpc.default_authority", str(way.endpoint)),
            ("grpc.ssl_target_name_override", host),
        ]
        if way.proxy is None:
            target = f"{'ipv6' if ':' in way.address else 'ipv4'}:{joined(way.address, way.port)}"
        else:
            self._tunnel = Tunnel(way)
            self._tunnel.open()
            target = self._tunnel.target
        if trusted is None:
            self._calls = Connections(lambda: grpc.aio.insecure_channel(target, options=options))
            self._streams = Connections(lambda: grpc.insecure_channel(target, options=options))
        else:
            credentials = grpc.ssl_channel_credentials(trusted.pem)
            self._calls = Connections(lambda: grpc.aio.secure_channel(target, credentials, options=options))
            self._streams = Connections(lambda: grpc.secure_channel(target, credentials, options=options))

    async def until_lost(self) -> None:
        """Returns when the connection breaks: at once if either side ends it.

        Raises CloudError without a connection.
        """
        channel, before = self._connections().channels[0], None
        while True:
            state = channel.get_state()
            if before is _READY and state is not _READY:
                return
            before = state
            await channel.wait_for_state_change(state)

    async def probe(self) -> None:
        """Opens and closes a connection over the way in use. Raises CloudError if that fails, or without a way.

        While calls are under way, it is enough if something is acknowledged over their connections: a further one
        may be held back for long by what they send over a slow link, or something on the way may not permit it.
        """
        way, movement = self._way_in_use(), self._movement
        before, began_s = movement.figures(), time.monotonic()
        with movement.asked():
            try:
                await way.probe()
            except CloudError:
                if not self.is_busy or not await movement.arrives(before, began_s):
                    raise

    @property
    def is_busy(self) -> bool:
        """Whether calls are under way."""
        return self._under_way > 0

    def is_stuck(self) -> bool:
        """Returns whether calls are under way, of which nothing was acknowledged since this was asked last."""
        before, self._seen = self._seen, self._movement.figures()
        return self.is_busy and not self._seen.has_more_than(before)

    async def close(self) -> None:
        """Closes all connections. Calls that are under way raise CloudError."""
        calls, self._calls, self._token = self._calls, None, Token("")
        tunnel, self._tunnel, self._way = self._tunnel, None, None
        streams, self._streams = self._streams, None
        for stream in streams.channels if streams is not None else ():
            _end(stream)
        if calls is not None:
            await asyncio.gather(*(channel.close() for channel in calls.channels))
        if tunnel is not None:
            await tunnel.close()

    async def upload_capture(self, request: bytes) -> None:
        """Sends a serialized DataCaptureUploadRequest. Returns when the cloud has acknowledged it."""
        await self.bandwidth.take(len(request))
        await self._logged_in(lambda: self._unary(_DATA_SYNC + "DataCaptureUpload", request))
        self.meter.add(len(request))

    async def create_sequence(self, request: bytes) -> None:
        """Sends a serialized CreateSequenceRequest. Returns when the cloud has acknowledged it."""
        await self._logged_in(lambda: self._unary(_CREATE_SEQUENCE, request))

    async def upload_stream(self, method: str, messages: streams.Messages) -> bytes:
        """Sends a stream by `method`: FileUpload or StreamingDataCaptureUpload.

        Returns the cloud's serialized answer when the cloud has all of the stream. `messages` is called again if
        the login has to be renewed. It is iterated on another thread and may block. If it raises, the call is
        cancelled and this raises the same.
        """
        return await self._logged_in(lambda: self._stream(_DATA_SYNC + method, self._metered(messages)))

    def _metered(self, messages: streams.Messages) -> streams.Messages:
        """Returns the same messages, slowed down to the limit and counted."""

        def meter() -> Iterator[bytes]:
            for message in self.bandwidth.shaped(messages)():
                yield message
                self.meter.add(len(message))

        return meter

    async def _logged_in(self, call: _Call[Reply]) -> Reply:
        """Makes a call with a valid token.

        Renews the token first if it expires soon. If the cloud no longer accepts it, renews it and calls once more.
        """
        self._under_way += 1
        try:
            return await self._with_token(call)
        finally:
            self._under_way -= 1

    async def _with_token(self, call: _Call[Reply]) -> Reply:
        token = self._token
        if token.is_old:
            await self._renew(token)
            token = self._token
        try:
            return await call()
        except CloudError as error:
            if error.code != "UNAUTHENTICATED":
                raise
        await self._renew(token)
        return await call()

    async def _renew(self, token: Token) -> None:
        """Logs in again, unless another call has replaced `token` already."""
        async with self._login:
            if token is self._token:
                await self._authenticate()

    async def _authenticate(self) -> None:
        settings = self._settings
        request = AuthenticateRequest(
            entity=settings.api_key_id, credentials=Credentials(type="api-key", payload=settings.api_key)
        )
        answer = await self._unary(_AUTHENTICATE, request.SerializeToString(), Token(""), _CONNECT_TIMEOUT_S)
        try:
            self._token = Token(AuthenticateResponse.FromString(answer).access_token)
        except DecodeError as error:
            raise CloudError("UNKNOWN", "the answer to the login can't be understood", connected=True) from error

    async def _explained(self, error: CloudError, way: Way, trusted: Roots) -> str:
        """Returns what is wrong with TLS, or else the error's own text. It is found out once for each error."""
        key = f"{error.message} {way}"
        if self._explanation[0] != key:
            self._explanation = (key, await why_not_trusted(way, trusted) or error.message)
        return self._explanation[1]

    def _way_in_use(self) -> Way:
        if self._way is None:
            raise CloudError("UNAVAILABLE", "the connection is closed", connected=False)
        return self._way

    def _connections(self) -> Connections[grpc.aio.Channel]:
        if self._calls is None:
            raise CloudError("UNAVAILABLE", "the connection is closed", connected=False)
        return self._calls

    async def _unary(
        self, method: str, request: bytes, token: Token | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Makes a unary call. Without `timeout_s` it may last as long as its bytes move."""
        connections, token, way = self._connections(), token or self._token, self._way
        with connections.one_for(len(request)) as channel:
            stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            call = stub(request, timeout=timeout_s, metadata=token.metadata)
            waiting = Patience(self._movement, len(request))
            timer = _StallTimer(call, waiting)
            try:
                return await call
            except grpc.aio.AioRpcError as error:
                raise await self._translated(
                    error.code().name, error.details() or "no details", token, way
                ) from error
            except asyncio.CancelledError:
                if waiting.is_over:
                    raise await self._stalled(waiting, token, way) from None
                raise self._cancelled(connections) from None
            finally:
                timer.stop()

    async def _stream(self, method: str, messages: streams.Messages) -> bytes:
        self._connections()
        assert self._streams is not None
        token, way, waiting = self._token, self._way, Patience(self._movement)
        with self._streams.one_for(BUSY_BYTES) as channel:
            try:
                return await streams.upload(channel, method, messages, token.metadata, waiting)
            except CloudError as error:
                if waiting.is_over:
                    raise await self._stalled(waiting, token, way) from error
                raise await self._translated(error.code, error.message, token, way) from error

    async def _translated(
        self, code: str, message: str, token: Token, way: Way | None, *, anew: bool = False
    ) -> CloudError:
        """Returns the error of a call that was made with `token` over `way`, without secrets in its text.

        gRPC does not say whether the cloud answered UNAVAILABLE or the connection broke, so this tries whether the
        cloud can be reached, with `anew` only by a new connection. An error of an earlier connection tells nothing
        about the one of now.
        """
        connected = self._way is way is not None
        if connected and code in _LOST:
            try:
                await (self._way_in_use().probe() if anew else self.probe())
            except CloudError as error:
                connected, message = False, error.message
        if self._way is not None and self._way is not way:
            return CloudError("CANCELLED", "the connection was closed", connected=True)
        if key := self._settings.api_key:
            message = message.replace(key, "…")  # the server may repeat what it got
        return CloudError(code, token.hidden_in(message), connected=connected)

    async def _stalled(self, waiting: Patience, token: Token, way: Way | None) -> CloudError:
        """Returns the error of a call that stalled. If what was sent does not arrive, the way is to blame."""
        error = await self._translated("DEADLINE_EXCEEDED", "the cloud does not answer", token, way, anew=True)
        if error.connected and waiting.is_lost and way is not None and way is self._way:
            self._doubts.note(way)
            message = (
                f"nothing that is sent {way} arrives, although connections are accepted: large packets may "
                "get lost on the way (MTU)"
            )
            return CloudError("UNAVAILABLE", message, connected=False)
        return error

    def _cancelled(self, connections: Connections[grpc.aio.Channel]) -> BaseException:
        """Returns what a cancelled call raises: its caller cancelled it, or its channel was closed."""
        if connections is self._calls:
            return asyncio.CancelledError()
        return CloudError("UNAVAILABLE", "the connection was closed", connected=False)


def _end(stream: grpc.Channel) -> None:
    """Closes a channel, which waits for the end of its calls: over a dead way that may take long."""
    try:
        in_own_thread("holdfast-end", "the end of a connection", stream.close)
    except RuntimeError:  # the system allows no further thread
        stream.close()


class _StallTimer:
    """Cancels a call that has stalled. The caller stops it when the call ends."""

    def __init__(self, call: grpc.aio.UnaryUnaryCall[bytes, bytes], waiting: Patience) -> None:
        self._call = call
        self._waiting = waiting
        self._later()

    def stop(self) -> None:
        self._timer.cancel()

    def _later(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(patience.LOOK_S, self._look)

    def _look(self) -> None:
        if self._waiting.look():
            self._later()
        else:
            self._call.cancel()
