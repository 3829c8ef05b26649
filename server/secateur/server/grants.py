"""Who may call what: the one table from RPC to scopes. A method that is not in it is refused to everybody.

Beside the scopes a grant says which field of the request names the project, so that no project sees another's resources, and
whether a call of it belongs into the audit log.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from google.protobuf.message import Message

from secateur.core.access import Scope


@dataclass(frozen=True, slots=True)
class Grant:
    """Who may call a method, and where its request names a project.

    Args:
        scopes: Scopes that may call it.
        path: Field of the request that holds the name of a project or of something in it; empty if there is none. That of a
            stream is read in each message that has it.
        mutates: Whether it changes something.
    """

    scopes: frozenset[Scope]
    path: tuple[str, ...] = ()
    mutates: bool = False

    def name_in(self, request: Message) -> str:
        """Returns the resource name in a request; empty if it has none."""
        value: Any = request
        for field in self.path[:-1]:
            if not value.HasField(field):
                return ""
            value = getattr(value, field)
        return str(getattr(value, self.path[-1])) if self.path else ""


_OPERATORS: Final = frozenset({Scope.ADMIN, Scope.OPERATOR})
_DEVICES: Final = _OPERATORS | {Scope.DEVICE}


def _read(path: str, scopes: frozenset[Scope] = _OPERATORS) -> Grant:
    return Grant(scopes, tuple(path.split(".")))


def _write(path: str) -> Grant:
    return Grant(_OPERATORS, tuple(path.split(".")), mutates=True)


GRANTS: Final[Mapping[str, Grant]] = {
    "/secateur.v1.ArchitectureService/UploadArchitecture": _write("spec.parent"),
    "/secateur.v1.ArchitectureService/GetArchitecture": _read("name"),
    "/secateur.v1.ArchitectureService/ListArchitectures": _read("parent"),
    "/secateur.v1.DatasetService/UploadDataset": _write("spec.parent"),
    "/secateur.v1.DatasetService/QueryDatasetUpload": _read("parent"),
    "/secateur.v1.DatasetService/GetDataset": _read("name"),
    "/secateur.v1.DatasetService/ListDatasets": _read("parent"),
    "/secateur.v1.DatasetService/DeleteDataset": _write("name"),
    "/secateur.v1.DatasetService/UndeleteDataset": _write("name"),
    "/secateur.v1.DeviceProfileService/CreateDeviceProfile": _write("parent"),
    "/secateur.v1.DeviceProfileService/GetDeviceProfile": _read("name"),
    "/secateur.v1.DeviceProfileService/ListDeviceProfiles": _read("parent"),
    "/secateur.v1.DeviceProfileService/DeleteDeviceProfile": _write("name"),
    "/secateur.v1.JobService/CreateJob": _write("parent"),
    "/secateur.v1.JobService/GetJob": _read("name"),
    "/secateur.v1.JobService/ListJobs": _read("parent"),
    "/secateur.v1.JobService/CancelJob": _write("name"),
    "/secateur.v1.JobService/RetryJob": _write("name"),
    "/secateur.v1.JobService/DeleteJob": _write("name"),
    "/secateur.v1.JobService/UndeleteJob": _write("name"),
    "/secateur.v1.JobService/WaitJob": _read("name"),
    "/secateur.v1.JobService/WatchJob": _read("name"),
    "/secateur.v1.JobService/ListSearchCandidates": _read("parent"),
    "/secateur.v1.ModelService/GetModel": _read("name", _DEVICES),
    "/secateur.v1.ModelService/ListModels": _read("parent", _DEVICES),
    "/secateur.v1.ModelService/DeleteModel": _write("name"),
    "/secateur.v1.ModelService/UndeleteModel": _write("name"),
    "/secateur.v1.ModelService/ResolveModel": _read("architecture", _DEVICES),
    "/secateur.v1.ModelService/DownloadArtifact": _read("name", _DEVICES),
    "/secateur.v1.PlanService/Quote": _read("architecture"),
    "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": Grant(_OPERATORS),
}
"""Grant of every method but health probes, which anybody may call."""
