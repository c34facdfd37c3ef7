"""Attributes, strategies and helpers that several tests of `config` share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import strategies as st

from holdfast import config
from holdfast.config import Config, Host
from holdfast.errors import ConfigError

HOST = Host("/home/user", working_folder="/srv/viam")
READINGS = {"name": "lidar", "method": "Readings", "capture_frequency_hz": 10.0}
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def parsed(**attributes: Any) -> Config:
    return config.parse(attributes, HOST)


def with_methods(*entries: object) -> Config:
    return parsed(capture_methods=list(entries))


def refusal(**attributes: Any) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        parsed(**attributes)
    return caught.value
