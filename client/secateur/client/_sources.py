"""Where an architecture comes from: a resource name, the zoo, or Keras JSON in any of its forms."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

from secateur.client.errors import UsageError
from secateur.client.targets import Zoo
from secateur.client.values import Architecture

_NAME = re.compile(r"projects/[^/]+/architectures/[^/]+")
_ACCEPTED = (
    "a zoo name (in lower case, such as resnet20) with input_shape and classes, a Zoo, a resource name "
    "projects/.../architectures/..., an Architecture, Keras JSON as text, the path of a .json file, or a Keras model"
)


@runtime_checkable
class KerasModel(Protocol):
    """A live Keras model, or anything else that describes itself as Keras JSON."""

    def to_json(self) -> str:
        """Returns the architecture as Keras JSON."""


ArchitectureLike = str | os.PathLike[str] | Zoo | Architecture | KerasModel
"""Everything that the SDK takes for an architecture."""


@dataclass(frozen=True, slots=True)
class Stored:
    """An architecture that the service has."""

    name: str


@dataclass(frozen=True, slots=True)
class KerasJson:
    """An architecture as Keras `model.to_json()`.

    Raises:
        UsageError: If the text cannot be sent.
    """

    text: str

    def __post_init__(self) -> None:
        try:
            self.text.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                "ARCHITECTURE_UNREADABLE",
                f"Keras JSON is text that UTF-8 can write: {error.reason}. Received: {_short(self.text)}",
                field="architecture",
            ) from None


def source_of(
    architecture: ArchitectureLike, *, input_shape: tuple[int, int, int] | None, classes: int | None
) -> Stored | Zoo | KerasJson:
    """Returns where an architecture comes from.

    Args:
        architecture: What the caller gave.
        input_shape: Shape of the input without the batch; for a zoo name only.
        classes: Number of classes; for a zoo name only.

    Raises:
        UsageError: If it is nothing that the SDK takes, a file cannot be read, or a zoo name lacks shape or classes.
    """
    if isinstance(architecture, str) and _is_zoo_name(architecture):
        if input_shape is None or classes is None:
            raise UsageError(
                "ZOO_INCOMPLETE",
                f"A network of the zoo needs input_shape and classes. Received: {architecture!r} with "
                f"input_shape={input_shape}, classes={classes}. Accepted: {_ACCEPTED}",
                field="input_shape" if input_shape is None else "classes",
            )
        return Zoo(architecture, input_shape, classes)
    if input_shape is not None or classes is not None:
        raise UsageError(
            "ARCHITECTURE_INVALID",
            "Only a zoo name (in lower case, such as resnet20) takes input_shape and classes; every other architecture has its "
            f"own. Received: {_short(architecture)}",
            field="input_shape" if input_shape is not None else "classes",
        )
    match architecture:
        case Zoo():
            return architecture
        case Architecture(name=name):
            return Stored(name)
        case str() if _NAME.fullmatch(architecture):
            return Stored(architecture)
        case str() if architecture.lstrip().startswith("{"):
            return KerasJson(architecture)
        case str() | os.PathLike():
            return KerasJson(_read(Path(architecture)))
        case KerasModel():
            return KerasJson(architecture.to_json())
    raise UsageError(
        "ARCHITECTURE_INVALID",
        f"An architecture is {_ACCEPTED}. Received: {_short(architecture)}",
        field="architecture",
    )


def _is_zoo_name(text: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_-]*", text) is not None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # ValueError: a path with a null byte, or text that is not UTF-8
        raise UsageError(
            "ARCHITECTURE_UNREADABLE",
            f"Cannot read Keras JSON from a file: {error}. Accepted: {_ACCEPTED}. Received: {str(path)!r}",
            field="architecture",
        ) from None


def _short(architecture: object) -> str:
    text = repr(architecture)
    return text if len(text) <= 80 else f"{text[:77]}..."
