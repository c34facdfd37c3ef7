"""Checks what JSON of unknown origin holds. Each function returns its argument, or raises ValueError."""

from __future__ import annotations

from .words import shown


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{shown(value)} must be a text")
    return value


def whole_number(value: object, least: int = 0, most: int | None = None) -> int:
    """Takes what is written as a whole number alone: neither 1.0 nor true."""
    if type(value) is not int or value < least or (most is not None and value > most):
        raise ValueError(f"{shown(value)} must be a whole number")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{shown(value)} must be true or false")
    return value
