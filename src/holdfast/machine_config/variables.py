"""`substituted` replaces variables in the text of a config file, as viam-server does when it reads one at its
start.

The forms are those of the library that viam-server uses (envsubst 1.4): `$NAME`, `${NAME}`, `${NAME-x}`,
`${NAME:-x}` (and with `=`) for a default, `${NAME+x}` for what stands there if the variable is set, and `$$` for
`$`. A variable that is not set is empty. What has none of these forms stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)(?:(:?[-=+])([^}\n]*))?\})")


def substituted(text: str, variables: Mapping[str, str]) -> str:
    """Returns the text with the values of the variables in their place."""

    def value(found: re.Match[str]) -> str:
        dollar, plain, name, operator, other = found.groups()
        if dollar:
            return "$"
        if plain is not None:
            return found[0] if plain == "_" else variables.get(plain, "")
        if operator is None:
            return variables.get(name, "")
        if operator.endswith("+"):
            return substituted(other, variables) if name in variables else ""
        is_given = bool(variables.get(name)) if operator.startswith(":") else name in variables
        return variables.get(name, "") if is_given else substituted(other, variables)

    return _VARIABLE.sub(value, text)
