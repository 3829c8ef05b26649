"""Resource names: `projects/{project}/jobs/{id}` and the like, taken apart and put together."""

from __future__ import annotations

from secateur.core.datasets import DatasetName
from secateur.core.errors import InvalidArgument
from secateur.core.profiles import ProfileName
from secateur.store.records import ARCHITECTURE_ID_LENGTH


def parse(name: str, *collections: str) -> tuple[str, ...]:
    """Returns the ids of a resource name.

    Args:
        name: For example "projects/default/jobs/42".
        collections: The collections that must alternate with the ids, for example "projects", "jobs".

    Raises:
        InvalidArgument: NAME_INVALID if `name` is not of that form.
    """
    segments = name.split("/")
    if tuple(segments[::2]) != collections or len(segments) != 2 * len(collections) or not all(segments):
        form = "/".join(f"{collection}/{{id}}" for collection in collections)
        raise InvalidArgument("NAME_INVALID", f"A resource name of the form {form} is needed. Received: {name}", field="name")
    return tuple(segments[1::2])


def project_of(parent: str) -> str:
    """Returns the id of the project that `projects/{id}` names."""
    return parse(parent, "projects")[0]


def in_project(name: str, collection: str) -> tuple[str, str]:
    """Returns project and id of `projects/{project}/{collection}/{id}`."""
    project, identifier = parse(name, "projects", collection)
    return project, identifier


def project(identifier: str) -> str:
    """Returns the name of a project."""
    return f"projects/{identifier}"


def architecture(project_id: str, digest: str) -> str:
    """Returns the name of the architecture with a digest."""
    return f"{project(project_id)}/architectures/{digest[:ARCHITECTURE_ID_LENGTH]}"


def job(project_id: str, identifier: str) -> str:
    """Returns the name of a job."""
    return f"{project(project_id)}/jobs/{identifier}"


def model(project_id: str, identifier: str) -> str:
    """Returns the name of a model."""
    return f"{project(project_id)}/models/{identifier}"


def artifact(project_id: str, model_id: str, artifact_format: str) -> str:
    """Returns the name of one file of a model."""
    return f"{model(project_id, model_id)}/artifacts/{artifact_format}"


def dataset(name: DatasetName) -> str:
    """Returns the name of a data set, built in or of a project."""
    return f"{project(name.project)}/datasets/{name.id}" if name.project else f"datasets/{name.id}"


def dataset_of(name: str) -> DatasetName:
    """Returns which data set `datasets/{id}` or `projects/{project}/datasets/{id}` names."""
    if name.startswith("projects/"):
        owner, identifier = in_project(name, "datasets")
        return DatasetName(identifier, owner)
    return DatasetName(parse(name, "datasets")[0])


def device_profile(name: ProfileName) -> str:
    """Returns the name of a device profile, built in or of a project."""
    return f"{project(name.project)}/deviceProfiles/{name.id}" if name.project else f"deviceProfiles/{name.id}"


def device_profile_of(name: str) -> ProfileName:
    """Returns which device profile `deviceProfiles/{id}` or `projects/{project}/deviceProfiles/{id}` names."""
    if name.startswith("projects/"):
        owner, identifier = in_project(name, "deviceProfiles")
        return ProfileName(identifier, owner)
    return ProfileName(parse(name, "deviceProfiles")[0])
