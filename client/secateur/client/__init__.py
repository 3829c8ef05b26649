"""SDK of Secateur: prune and train a CNN until it fits a device, as a service.

Example:
    >>> from secateur.client import Client, Target, Zoo
    >>> with Client() as client:
    ...     job = client.submit(
    ...         Zoo("resnet20", input_shape=(8, 8, 1), classes=10),
    ...         dataset="digits",
    ...         targets=Target("stm32f746", flash="64KiB", latency="20ms"),
    ...     )
    ...     (model,) = job.result(timeout=600)
    ...     model.download("model")

`secateur.client.aio` is the same for asyncio. Every error is a `SecateurError`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from secateur.client.datasets import Augmentation, Dataset
from secateur.client.errors import (
    Aborted,
    AlreadyExists,
    Cancelled,
    DataLoss,
    DeadlineExceeded,
    DigestMismatch,
    FailedPrecondition,
    Infeasible,
    Internal,
    InvalidArgument,
    JobCancelled,
    JobError,
    JobExpired,
    JobFailed,
    JobInfeasible,
    NotFound,
    OutOfRange,
    PermissionDenied,
    ResourceExhausted,
    SecateurError,
    Unauthenticated,
    Unavailable,
    Unimplemented,
    Unknown,
    UsageError,
    WaitTimeout,
)
from secateur.client.jobs import (
    Attempt,
    JobEvent,
    JobFailure,
    JobProgress,
    JobSnapshot,
    SearchCandidate,
    TargetResult,
    TargetSummary,
    Tightening,
)
from secateur.client.recipes import Recipe
from secateur.client.targets import Budget, Hardware, Planning, Target, Zoo
from secateur.client.tls import Tls
from secateur.client.values import (
    Architecture,
    Artifact,
    ChannelGroup,
    Compliance,
    Cost,
    CurvePoint,
    DeviceProfile,
    GroupWidth,
    HybridPolicy,
    LayerSummary,
    Limit,
    LimitQuote,
    Measurement,
    ModelSnapshot,
    OperatorProfile,
    OperatorTime,
    Plan,
    Quotes,
    Resolution,
    SearchPolicy,
    TargetQuote,
)

if TYPE_CHECKING:
    from secateur.client import aio
    from secateur.client._retry import Retry
    from secateur.client.client import Client, Job, Model

__all__ = [
    "Aborted",
    "AlreadyExists",
    "Architecture",
    "Artifact",
    "Attempt",
    "Augmentation",
    "Budget",
    "Cancelled",
    "ChannelGroup",
    "Client",
    "Compliance",
    "Cost",
    "CurvePoint",
    "DataLoss",
    "Dataset",
    "DeadlineExceeded",
    "DeviceProfile",
    "DigestMismatch",
    "FailedPrecondition",
    "GroupWidth",
    "Hardware",
    "HybridPolicy",
    "Infeasible",
    "Internal",
    "InvalidArgument",
    "Job",
    "JobCancelled",
    "JobError",
    "JobEvent",
    "JobExpired",
    "JobFailed",
    "JobFailure",
    "JobInfeasible",
    "JobProgress",
    "JobSnapshot",
    "LayerSummary",
    "Limit",
    "LimitQuote",
    "Measurement",
    "Model",
    "ModelSnapshot",
    "NotFound",
    "OperatorProfile",
    "OperatorTime",
    "OutOfRange",
    "PermissionDenied",
    "Plan",
    "Planning",
    "Quotes",
    "Recipe",
    "Resolution",
    "ResourceExhausted",
    "Retry",
    "SearchCandidate",
    "SearchPolicy",
    "SecateurError",
    "Target",
    "TargetQuote",
    "TargetResult",
    "TargetSummary",
    "Tightening",
    "Tls",
    "Unauthenticated",
    "Unavailable",
    "Unimplemented",
    "Unknown",
    "UsageError",
    "WaitTimeout",
    "Zoo",
    "aio",
]

_LAZY = {
    "Client": "secateur.client.client",
    "Job": "secateur.client.client",
    "Model": "secateur.client.client",
    "Retry": "secateur.client._retry",
}
"""Names whose modules import gRPC or asyncio, which takes ten times as long as all the rest."""


def __getattr__(name: str) -> object:
    if name == "aio":
        return importlib.import_module("secateur.client.aio")
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value  # the next access is an ordinary one
    return value
