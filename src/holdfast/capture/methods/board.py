"""rdk:component:board."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.board import (
    GetGPIORequest,
    GetGPIOResponse,
    ReadAnalogReaderRequest,
    ReadAnalogReaderResponse,
)

from .common import decoded_row, of_component
from .method import Method, Params, Target, from_data_management, required_text

API = "rdk:component:board"
SERVICE = "viam.component.board.v1.BoardService"


def _analog(target: Target) -> bytes:
    return ReadAnalogReaderRequest(
        board_name=target.name, analog_reader_name=target.params["reader_name"], extra=from_data_management()
    ).SerializeToString()


def _gpio(target: Target) -> bytes:
    return GetGPIORequest(
        name=target.name, pin=target.params["pin_name"], extra=from_data_management()
    ).SerializeToString()


def _needs_reader(params: Params) -> str:
    return required_text(params, "reader_name", "name the analog reader")


def _needs_pin(params: Params) -> str:
    return required_text(params, "pin_name", "name the pin")


METHODS: Mapping[str, Method] = {
    # reader_name → {"value", "min_range", "max_range", "step_size"}
    "Analogs": decoded_row(f"/{SERVICE}/ReadAnalogReader", _analog, ReadAnalogReaderResponse, _needs_reader),
    # pin_name → {"high": bool}
    "Gpios": decoded_row(f"/{SERVICE}/GetGPIO", _gpio, GetGPIOResponse, _needs_pin),
    **of_component(SERVICE),
}
