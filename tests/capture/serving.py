"""A real gRPC server on a socket, and the client that calls it."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import grpc.aio

from holdfast.capture.client import GrpcioClient


@asynccontextmanager
async def served(
    service: str, handlers: Mapping[str, grpc.RpcMethodHandler[bytes, bytes]]
) -> AsyncIterator[GrpcioClient]:
    server = grpc.aio.server(options=[("grpc.max_send_message_length", -1)])
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, dict(handlers)),))
    with tempfile.TemporaryDirectory(prefix="hf-") as folder:
        address = str(Path(folder) / "socket")
        server.add_insecure_port(f"unix:{address}")
        await server.start()
        client = GrpcioClient(address)
        yield client
        await client.close()
        await server.stop(None)
