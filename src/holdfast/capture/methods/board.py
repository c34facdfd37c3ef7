"""rdk:component:board."""

from __future__ import annotations

from collections.abc import Mapping

from viam.proto.component.board import (
    GetGPIORequest,
    GetGPIOResponse,
    ReadAnalogReaderRequest,
    ReadAnalogReaderResponse,
)

from .common import of_component
from .method import Method, Params, TabularMethod, Target, fields_of, from_data_management, required_text

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
    "Analogs": TabularMethod(
        f"/{SERVICE}/ReadAnalogReader", _analog, fields_of(ReadAnalogReaderResponse), _needs_reader
    ),
    # pin_name → {"high": bool}
    "Gpios": TabularMethod(f"/{SERVICE}/GetGPIO", _gpio, fields_of(GetGPIOResponse), _needs_pin),
    **of_component(SERVICE),
}
