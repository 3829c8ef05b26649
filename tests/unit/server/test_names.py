"""Resource names."""

from __future__ import annotations

import pytest

from secateur.core.datasets import DatasetName
from secateur.core.errors import InvalidArgument
from secateur.core.profiles import ProfileName
from secateur.server import names


def test_names_are_taken_apart_as_they_are_put_together() -> None:
    assert names.project_of(names.project("default")) == "default"
    assert names.in_project(names.job("default", "42"), "jobs") == ("default", "42")
    assert names.in_project(names.model("p", "m"), "models") == ("p", "m")
    assert names.parse(names.artifact("p", "m", "litert-int8"), "projects", "models", "artifacts") == ("p", "m", "litert-int8")
    for dataset in (DatasetName("digits"), DatasetName("my-set", "p")):
        assert names.dataset_of(names.dataset(dataset)) == dataset
    assert names.dataset(DatasetName("my-set", "p")) == "projects/p/datasets/my-set"
    for profile in (ProfileName("esp32"), ProfileName("my-board", "p")):
        assert names.device_profile_of(names.device_profile(profile)) == profile
    assert names.device_profile(ProfileName("my-board", "p")) == "projects/p/deviceProfiles/my-board"


def test_an_architecture_is_named_by_the_start_of_its_digest() -> None:
    assert names.architecture("default", "0123456789abcdef" * 4) == "projects/default/architectures/0123456789abcdef"


@pytest.mark.parametrize(
    "name", ["", "jobs/1", "projects/p", "projects/p/jobs", "projects/p/jobs/", "projects/p/jobs/1/x", "/p/jobs/1"]
)
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"form projects/\{id\}/jobs/\{id\} is needed") as caught:
        names.in_project(name, "jobs")
    assert caught.value.reason == "NAME_INVALID"
