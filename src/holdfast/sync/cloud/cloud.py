"""The cloud: one login, and uploads over a few gRPC connections for unary calls and a few others for streams.

This is the boundary to the cloud: errors of gRPC become `CloudError` here. Which way connections take, and whose
certificates are trusted, is decided by `sync.way` at each connect; all connections take the same way, so that a
probe of it tells about all. Plaintext is sent to this computer only, unless the configuration allows more. The key
and the token appear in no error and no log.

Runs on the event loop; the messages of streams are taken on gRPC's threads.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc
import grpc.aio
from viam.proto.rpc.auth import AuthenticateRequest, AuthenticateResponse, Credentials

from ...base.threads import in_own_thread
from ...base.words import escaped, shortened
from ...config import endpoint
from ...errors import CloudError, ConfigError, LoginError
from ..way.proxies import Routes
from ..way.roots import Roots, roots
from ..way.trust import why_not_trusted
from ..way.tunnel import Tunnel
from ..way.way import Doubts, Way, find_way
from . import patience, streams
from .bandwidth import Bandwidth, Meter
from .channels import Channels
from .connections import BUSY_BYTES
from .kernel import Figures
from .patience import Movement, Patience
from .replies import AUTHENTICATE, CAPTURE_UPLOAD, CREATE_SEQUENCE, checked, own_words
from .secrets import Secrets
from .token import Token, why_unusable
from .verdicts import Verdict, verdict

_CONNECT_TIMEOUT_S = 10.0
_READY = grpc.ChannelConnectivity.READY
MAX_TEXT_CHARS = 300
"""What is kept of the text of an error that the cloud sends."""
_LOST = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")

Reply = TypeVar("Reply")
_Call = Callable[[], Coroutine[Any, Any, Reply]]

logger = logging.getLogger(__name__)


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
            "that is connected to the cloud and has an API key"
        )


class Cloud:
    """The uploads to one cloud.

    `connect` must have succeeded before other calls, and may be called again. Every method that makes a call raises
    CloudError. `close` ends the calls that are under way.
    """

    def __init__(self, settings: CloudSettings) -> None:
        self._settings = settings
        self._channels: Channels | None = None
        self._way: Way | None = None
        self._tunnel: Tunnel | None = None
        self._doubts = Doubts()
        self._movement: Movement
        """The movement over all connections; set by `connect`."""
        self._seen = Figures()
        self._explanation = ("", "")
        """The last error of TLS, with the way, and why it came."""
        self._use(Token(""))
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
        if way.proxy is not None:
            self._tunnel = Tunnel(way)
            self._tunnel.open()
        self._channels = Channels(way, trusted, self._tunnel)
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

    async def until_lost(self) -> None:
        """Returns when the connection breaks: at once if either side ends it.

        Raises CloudError without a connection.
        """
        channel, before = self._open_channels().calls.channels[0], None
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
        channels, self._channels = self._channels, None
        tunnel, self._tunnel, self._way = self._tunnel, None, None
        self._use(Token(""))
        if channels is not None:
            for stream in channels.streams.channels:
                _end(stream)
            await asyncio.gather(*(channel.close() for channel in channels.calls.channels))
        if tunnel is not None:
            await tunnel.close()

    async def upload_capture(self, request: bytes) -> None:
        """Sends a serialized DataCaptureUploadRequest. Returns when the cloud has acknowledged it."""
        await self.bandwidth.take(len(request))
        await self._logged_in(lambda: self._unary(CAPTURE_UPLOAD, request))
        self.meter.add(len(request))

    async def create_sequence(self, request: bytes) -> None:
        """Sends a serialized CreateSequenceRequest. Returns when the cloud has acknowledged it."""
        await self._logged_in(lambda: self._unary(CREATE_SEQUENCE, request))

    async def upload_stream(self, method: str, messages: streams.Messages) -> bytes:
        """Sends a stream by `method`: `FILE_UPLOAD` or `STREAMED_UPLOAD`.

        Returns the cloud's serialized answer when the cloud has all of the stream. `messages` is called again if
        the login has to be renewed. It is iterated on another thread and may block. If it raises, the call is
        cancelled and this raises the same.
        """
        return await self._logged_in(lambda: self._stream(method, self._metered(messages)))

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
            try:
                await self._renew(token)
            except LoginError as error:
                token.try_later()  # it is good until the cloud refuses it, and what is under way goes on
                logger.info("the access token could not be renewed yet: %s", error)
            token = self._token
        try:
            return await call()
        except CloudError as error:
            if error.code != "UNAUTHENTICATED":
                raise
        await self._renew(token)
        return await call()

    async def _renew(self, token: Token) -> None:
        """Logs in again, unless another call has replaced `token` already. Raises LoginError."""
        async with self._login:
            if token is self._token:
                try:
                    await self._authenticate()
                except CloudError as error:
                    raise LoginError(error.code, error.message, connected=error.connected) from error

    async def _authenticate(self) -> None:
        settings = self._settings
        request = AuthenticateRequest(
            entity=settings.api_key_id, credentials=Credentials(type="api-key", payload=settings.api_key)
        )
        answer = await self._unary(AUTHENTICATE, request.SerializeToString(), Token(""), _CONNECT_TIMEOUT_S)
        token = AuthenticateResponse.FromString(answer).access_token
        if why := why_unusable(token):
            raise LoginError("UNKNOWN", f"the token that the cloud gave can't be used: {why}", connected=True)
        self._use(Token(token))

    def hidden_in(self, text: str) -> str:
        """Returns a text of the cloud without any part of the key or the token."""
        return self._secrets.hidden_in(text)

    def _use(self, token: Token) -> None:
        """Makes calls with this token from now on."""
        self._token = token
        self._secrets = Secrets(self._settings.api_key, token.text)

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

    def _open_channels(self) -> Channels:
        if self._channels is None:
            raise CloudError("UNAVAILABLE", "the connection is closed", connected=False)
        return self._channels

    async def _unary(
        self, method: str, request: bytes, token: Token | None = None, timeout_s: float | None = None
    ) -> bytes:
        """Makes a unary call. Without `timeout_s` it may last as long as its bytes move."""
        channels, token, way, secrets = self._open_channels(), token or self._token, self._way, self._secrets
        with channels.calls.one_for(len(request)) as channel:
            stub: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
            call = stub(request, timeout=timeout_s, metadata=token.metadata)
            waiting = Patience(self._movement, len(request))
            timer = _StallTimer(call, waiting)
            try:
                return checked(method, await call)
            except grpc.aio.AioRpcError as error:
                raise await self._translated(
                    error.code().name, error.details() or "no details", secrets, way
                ) from error
            except asyncio.CancelledError:
                if waiting.is_over:
                    raise await self._stalled(waiting, secrets, way) from None
                raise self._cancelled(channels) from None
            finally:
                timer.stop()

    async def _stream(self, method: str, messages: streams.Messages) -> bytes:
        channels, token, way, secrets = self._open_channels(), self._token, self._way, self._secrets
        waiting = Patience(self._movement)
        with channels.streams.one_for(BUSY_BYTES) as channel:
            try:
                return checked(method, await streams.upload(channel, method, messages, token.metadata, waiting))
            except CloudError as error:
                if waiting.is_over:
                    raise await self._stalled(waiting, secrets, way) from error
                raise await self._translated(error.code, error.message, secrets, way) from error

    async def _translated(
        self, code: str, message: str, secrets: Secrets, way: Way | None, *, anew: bool = False
    ) -> CloudError:
        """Returns the error of a call over `way`, with a short text of one line and without `secrets` in it.

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
        code, message = own_words(code, message)
        text = escaped(secrets.hidden_in(shortened(message, MAX_TEXT_CHARS)))
        return CloudError(code, shortened(text, MAX_TEXT_CHARS), connected=connected)

    async def _stalled(self, waiting: Patience, secrets: Secrets, way: Way | None) -> CloudError:
        """Returns the error of a call that stalled. If what was sent does not arrive, the way is to blame."""
        error = await self._translated("DEADLINE_EXCEEDED", "the cloud does not answer", secrets, way, anew=True)
        if error.connected and waiting.is_lost and way is not None and way is self._way:
            self._doubts.note(way)
            message = (
                f"nothing that is sent {way} arrives, although connections are accepted: large packets may "
                "get lost on the way (MTU)"
            )
            return CloudError("UNAVAILABLE", message, connected=False)
        return error

    def _cancelled(self, channels: Channels) -> BaseException:
        """Returns what a cancelled call raises: its caller cancelled it, or its channel was closed."""
        if channels is self._channels:
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
