"""Client documents: JSON within bounds, and the types of what is taken out of it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn

from secateur.core.errors import InvalidArgument
from secateur.core.graph.arguments import MALFORMED, TOO_LARGE, LayerError, show

MAX_JSON_CHARACTERS: Final = 16 * 2**20
"""Longest Keras JSON, 16 times that of NASNet-Large."""
MAX_JSON_VALUES: Final = 500_000
"""Most values in a Keras JSON, 8 times those of NASNet-Large: parsed, they take some 50 MB."""
MAX_NAME: Final = 128
"""Longest name of a layer."""
_NAME: Final = re.compile(rf"[A-Za-z0-9][A-Za-z0-9_.\-]{{0,{MAX_NAME - 1}}}", re.ASCII)
_MAX_DIGITS: Final = 100
_SEPARATORS: Final = "[{,"


def refuse(reason: str, message: str, *, layer: str = "") -> InvalidArgument:
    """Returns the error for a bad graph; `layer` is the offending layer, if there is one and its name is fit to be sent."""
    field = layer if not layer or _NAME.fullmatch(layer) else "layers"  # the name itself may be what is wrong
    return InvalidArgument(reason, message, field=field)


def refuse_layer(refusal: LayerError, name: str, op: str) -> InvalidArgument:
    """Returns the error for a layer that was refused."""
    return refuse(refusal.reason, f"Layer {show(name)} ({op}) {refusal.text}", layer=name)


def parse(text: str) -> Any:
    """Parses JSON. What it may hold is bounded before, as the parsed values take many times the memory of their text.

    Raises:
        InvalidArgument: ARCHITECTURE_TOO_LARGE or ARCHITECTURE_MALFORMED.
    """
    if len(text) > MAX_JSON_CHARACTERS:
        raise refuse(TOO_LARGE, f"Keras JSON may have at most {MAX_JSON_CHARACTERS} characters. Received: {len(text)}")
    values = sum(text.count(separator) for separator in _SEPARATORS)
    if values > MAX_JSON_VALUES:
        raise refuse(TOO_LARGE, f"Keras JSON may hold at most {MAX_JSON_VALUES} values. Received: about {values}")
    try:
        return json.loads(text, parse_constant=_no_constant, parse_int=_integer)
    except ValueError as error:  # not only JSONDecodeError: see below
        raise refuse(MALFORMED, f"The architecture is not valid JSON: {str(error)[:200]}") from None


def _integer(digits: str) -> int:
    if len(digits) > _MAX_DIGITS:  # converting takes time in the square of their number
        raise ValueError(f"a whole number has at most {_MAX_DIGITS} digits, not {len(digits)}")
    return int(digits)


def _no_constant(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not a JSON number")


def mapping(value: Any, what: str, layer: str = "") -> Mapping[str, Any]:
    """Returns a JSON object. Raises InvalidArgument ARCHITECTURE_MALFORMED, "<what> must be an object"."""
    if not isinstance(value, Mapping):
        raise refuse(MALFORMED, f"{what} must be an object. Received: {show(value)}", layer=layer)
    return value


def sequence(value: Any, what: str, layer: str = "") -> list[Any]:
    """Returns a JSON list. Raises InvalidArgument ARCHITECTURE_MALFORMED, "<what> must be a list"."""
    if not isinstance(value, list):
        raise refuse(MALFORMED, f"{what} must be a list. Received: {show(value)}", layer=layer)
    return value


def string(value: Any, what: str, layer: str = "") -> str:
    """Returns JSON text. Raises InvalidArgument ARCHITECTURE_MALFORMED, "<what> must be text"."""
    if not isinstance(value, str):
        raise refuse(MALFORMED, f"{what} must be text. Received: {show(value)}", layer=layer)
    return value


def layer_name(value: Any) -> str:
    """Returns the name of a layer. Raises InvalidArgument ARCHITECTURE_MALFORMED."""
    name = string(value, "The name of a layer")
    if not _NAME.fullmatch(name):
        raise refuse(
            MALFORMED,
            f"A layer name has 1 to {MAX_NAME} letters, digits, '_', '.' or '-' and starts with a letter or digit. "
            f"Received: {show(name)}",
            layer=name,
        )
    return name
