"""The rules in the .proto files, as a caller is told of them."""

from __future__ import annotations

import pytest
from google.protobuf.descriptor_pool import Default

from buf.validate import validate_pb2
from secateur.server.app import SERVICES
from secateur.server.errors import RequestInvalid
from secateur.server.patterns import in_words
from secateur.server.validation import check
from secateur.v1 import job_service_pb2, plan_service_pb2, resources_pb2


def test_a_good_request_passes() -> None:
    check(job_service_pb2.ListJobsRequest(parent="projects/default", page_size=10))


def test_every_broken_rule_is_told_with_its_path_and_value() -> None:
    limit = resources_pb2.Limit(resource=resources_pb2.RESOURCE_FLASH_BYTES, value=-1)
    job = job_service_pb2.Job(
        architecture="resnet20",
        dataset="datasets/digits",
        targets=[plan_service_pb2.Target(budget=resources_pb2.Budget(limits=[limit]))],
        labels={"site": "x" * 64},
    )

    with pytest.raises(RequestInvalid) as caught:
        check(job_service_pb2.CreateJobRequest(parent="projects/default", job=job))

    found = dict(caught.value.violations)
    assert set(found) == {"job.architecture", 'job.labels["site"]', "job.targets[0].budget.limits[0].value"}
    assert found["job.targets[0].budget.limits[0].value"] == "must be greater than 0. Received: '-1.0'"
    assert len(found['job.labels["site"]']) < 200


def test_what_a_name_looks_like_is_told_in_words() -> None:
    with pytest.raises(RequestInvalid) as caught:
        check(job_service_pb2.GetJobRequest(name="projects/default/jobs/nosuch"))

    assert caught.value.violations == (
        (
            "name",
            "must look like projects/{project}/jobs/{job} ({project}: small letters, digits and hyphens, a letter first, at "
            "most 63; {job}: digits, letters a to f and hyphens, at most 63). Received: 'projects/default/jobs/nosuch'",
        ),
    )


def test_every_pattern_of_the_api_has_words() -> None:
    patterns = {
        field.GetOptions().Extensions[validate_pb2.field].string.pattern
        for service in SERVICES
        for message in Default().FindServiceByName(service).file.message_types_by_name.values()
        for field in message.fields
    } - {""}
    assert len(patterns) >= 10
    for pattern in patterns:
        assert not set("[]^$") & set(in_words(pattern))
    assert in_words("^(projects/[a-z][a-z0-9-]{0,62}/)?datasets/[a-z0-9][a-z0-9_-]{0,62}$").startswith(
        "must look like datasets/{dataset} or projects/{project}/datasets/{dataset} ("
    )


def test_a_missing_message_is_told() -> None:
    with pytest.raises(RequestInvalid) as caught:
        check(job_service_pb2.CreateJobRequest(parent="projects/default"))

    assert caught.value.violations == (("job", "value is required"),)


def test_a_nul_is_found_wherever_text_may_be() -> None:
    job = job_service_pb2.Job(
        display_name="a\0b",
        architecture="projects/default/architectures/0123456789abcdef",
        dataset="datasets/digits",
        targets=[plan_service_pb2.Target(device_profile="deviceProfiles/stm32f746")],
        labels={"site": "\0", "team": "edge"},
    )

    with pytest.raises(RequestInvalid) as caught:
        check(job_service_pb2.CreateJobRequest(parent="projects/default", job=job))

    assert caught.value.violations == (
        ("job.display_name", "must not contain NUL"),
        ("job.labels['site']", "must not contain NUL"),
    )
