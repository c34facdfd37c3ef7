"""The part of Viam's app that `viam module upload` talks to: one organization with one module, kept in memory.

Serves AuthService.Authenticate and, of AppService, ListOrganizations, UpdateModule, GetModule and UploadModuleFile,
on 127.0.0.1 in plaintext. As the app does, it knows a module's entrypoint from what UpdateModule said last.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from viam.proto.app import (
    GetModuleRequest,
    GetModuleResponse,
    ListOrganizationsRequest,
    ListOrganizationsResponse,
    Module,
    ModuleFileInfo,
    Organization,
    UpdateModuleRequest,
    UpdateModuleResponse,
    UploadModuleFileRequest,
    UploadModuleFileResponse,
)
from viam.proto.rpc.auth import AuthenticateRequest, AuthenticateResponse

NAMESPACE = "holdfast"


@dataclass
class Upload:
    """One version of the module for one platform, as it came."""

    about: ModuleFileInfo
    archive: bytearray = field(default_factory=bytearray)


class ViamApp:
    """`async with ViamApp(key_id, key) as app`; `app.address` is a base URL for the command line tool."""

    def __init__(self, key_id: str, key: str) -> None:
        self.address = ""
        self.updates: list[UpdateModuleRequest] = []
        self.uploads: list[Upload] = []
        self._credentials = (key_id, key)
        self._server = grpc.aio.server()

    async def __aenter__(self) -> ViamApp:
        organizations = _unary(ListOrganizationsRequest, self._list_organizations)
        self._serve("proto.rpc.v1.AuthService", Authenticate=_unary(AuthenticateRequest, self._authenticate))
        self._serve(
            "viam.app.v1.AppService",
            ListOrganizations=organizations,
            UpdateModule=_unary(UpdateModuleRequest, self._update_module),
            GetModule=_unary(GetModuleRequest, self._get_module),
            UploadModuleFile=grpc.stream_unary_rpc_method_handler(
                self._upload_module_file,
                UploadModuleFileRequest.FromString,
                UploadModuleFileResponse.SerializeToString,
            ),
        )
        self.address = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._server.stop(None)

    def _serve(self, service: str, **methods: grpc.RpcMethodHandler[Any, Any]) -> None:
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))

    async def _authenticate(self, request: AuthenticateRequest, context: Any) -> AuthenticateResponse:
        if (request.entity, request.credentials.payload) != self._credentials:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such key")
        return AuthenticateResponse(access_token="a token")

    async def _list_organizations(self, _: ListOrganizationsRequest, __: Any) -> ListOrganizationsResponse:
        return ListOrganizationsResponse(
            organizations=[Organization(id="organization-1", name="Holdfast", public_namespace=NAMESPACE)]
        )

    async def _update_module(self, request: UpdateModuleRequest, _: Any) -> UpdateModuleResponse:
        self.updates.append(request)
        return UpdateModuleResponse(url=f"{self.address}/module/{request.module_id}")

    async def _get_module(self, request: GetModuleRequest, context: Any) -> GetModuleResponse:
        for update in reversed(self.updates):
            if update.module_id == request.module_id:
                module = Module(module_id=update.module_id, models=update.models, entrypoint=update.entrypoint)
                return GetModuleResponse(module=module)
        await context.abort(grpc.StatusCode.NOT_FOUND, f"no module {request.module_id}")
        raise AssertionError("abort raises")

    async def _upload_module_file(
        self, requests: AsyncIterator[UploadModuleFileRequest], context: Any
    ) -> UploadModuleFileResponse:
        upload: Upload | None = None
        async for request in requests:
            if request.HasField("module_file_info"):
                upload = Upload(request.module_file_info)
            elif upload is not None:
                upload.archive += request.file
        if upload is None:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "the upload says nothing of itself")
            raise AssertionError("abort raises")
        self.uploads.append(upload)
        return UploadModuleFileResponse(url=f"{self.address}/module/{upload.about.module_id}")


def _unary(request: Any, answer: Any) -> grpc.RpcMethodHandler[Any, Any]:
    return grpc.unary_unary_rpc_method_handler(
        answer, request.FromString, lambda response: response.SerializeToString()
    )
