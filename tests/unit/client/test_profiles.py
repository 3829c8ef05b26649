"""Device profiles of a project: adding, naming and deleting them, in the SDK and on the command line."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from secateur.client import Client, DeviceProfile, Hardware, Target, UsageError, aio
from secateur.v1 import device_profile_service_pb2 as pb
from secateur.v1 import job_service_pb2 as jobs_pb
from secateur.v1 import model_service_pb2 as models_pb
from secateur.v1 import plan_service_pb2 as plans_pb
from tests.unit.client.command_line import run
from tests.unit.client.conftest import RESNET
from tests.unit.client.remote.service import Service

OWN = "projects/default/deviceProfiles/my-board"
BUILT_IN = "deviceProfiles/stm32f746"
HARDWARE: Hardware = {"flash": "1MiB", "ram": "320KiB", "clock": "216MHz", "macs_per_second": "200M"}
OPTIONS = ["--flash", "1MiB", "--ram", "320KiB", "--clock", "216MHz", "--macs", "200M"]


def test_a_profile_is_sent_as_it_was_written(client: Client, remote: Service) -> None:
    profile = client.add_device_profile(
        "my-board",
        flash="1MiB",
        ram="320KiB",
        clock="216MHz",
        macs_per_second="200M",
        runtime="litert",
        bandwidth="100MB",
        overhead="5us",
        display_name="My board",
        source="measured",
    )

    (request,) = remote.faults.requests["CreateDeviceProfile"]
    assert isinstance(request, pb.CreateDeviceProfileRequest)
    assert (request.parent, request.device_profile_id, request.validate_only) == ("projects/default", "my-board", False)
    assert uuid.UUID(request.request_id).version == 4
    assert request.device_profile == pb.DeviceProfile(
        display_name="My board",
        clock_hz=216_000_000,
        flash_bytes=2**20,
        ram_bytes=320 * 1024,
        macs_per_second=2e8,
        bytes_per_second=1e8,
        seconds_per_operator=5e-6,
        runtime=pb.RUNTIME_LITERT,
        source="measured",
    )
    assert (profile.name, profile.runtime, profile.bytes_per_second) == (OWN, "LITERT", 1e8)


def test_what_is_left_out_is_left_to_the_service(client: Client, remote: Service) -> None:
    client.add_device_profile("my-board", **HARDWARE, validate_only=True)

    (request,) = remote.faults.requests["CreateDeviceProfile"]
    assert isinstance(request, pb.CreateDeviceProfileRequest)
    assert request.validate_only
    assert request.device_profile.runtime == pb.RUNTIME_TFLM
    assert not request.device_profile.HasField("bytes_per_second")
    assert not request.device_profile.HasField("seconds_per_operator")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [({"flash": "1QB"}, "flash"), ({"clock": "216 m"}, "clock"), ({"ram": 0}, "ram"), ({"runtime": "onnx"}, "runtime"),
     ({"macs_per_second": "-1"}, "macs_per_second"), ({"bandwidth": "fast"}, "bandwidth"), ({"overhead": "0"}, "overhead")],
)  # fmt: skip
def test_figures_that_cannot_be_read_are_refused_unsent(
    client: Client, remote: Service, wrong: dict[str, Any], field: str
) -> None:
    with pytest.raises(UsageError) as caught:
        client.add_device_profile("my-board", **{**HARDWARE, **wrong})
    assert caught.value.field == field
    assert not remote.faults.requests


def test_a_short_name_is_built_in_or_else_of_the_project(client: Client, remote: Service) -> None:
    targets = [Target("my-board"), Target("stm32f746"), Target("projects/other/deviceProfiles/x"), Target(flash="64KiB")]
    expected = [OWN, BUILT_IN, "projects/other/deviceProfiles/x", ""]

    client.submit(RESNET, dataset="digits", targets=targets)
    client.quote(RESNET, targets=targets)
    client.resolve(RESNET, "digits", profile="my-board")

    (job,), (quote,), (resolve,) = (remote.faults.requests[call] for call in ("CreateJob", "Quote", "ResolveModel"))
    assert isinstance(job, jobs_pb.CreateJobRequest)
    assert isinstance(quote, plans_pb.QuoteRequest)
    assert isinstance(resolve, models_pb.ResolveModelRequest)
    assert [target.device_profile for target in job.job.targets] == expected
    assert [target.device_profile for target in quote.targets] == expected
    assert resolve.device_profile == OWN


def test_which_profiles_are_built_in_is_asked_once(client: Client, remote: Service) -> None:
    client.quote(RESNET, targets=[Target("stm32f746"), Target("stm32h743")])
    asked = len(remote.faults.requests["ListDeviceProfiles"])

    client.quote(RESNET, targets=Target("stm32f746"))

    assert len(remote.faults.requests["ListDeviceProfiles"]) == asked


def test_profiles_are_read_and_deleted_by_their_short_names(client: Client, remote: Service) -> None:
    added = client.add_device_profile("my-board", **HARDWARE)

    assert client.device_profile("my-board") == added
    assert client.device_profile("stm32h743").name == "deviceProfiles/stm32h743"
    assert [profile.name for profile in client.device_profiles()] == [BUILT_IN, "deviceProfiles/stm32h743", OWN]
    client.delete_device_profile("my-board")
    assert OWN not in remote.device_profiles.stored


def test_asyncio_adds_the_same(remote: Service) -> None:
    async def add() -> DeviceProfile:
        async with aio.Client(remote.address) as client:
            await client.add_device_profile("my-board", **HARDWARE)
            return await client.device_profile("my-board")

    assert asyncio.run(add()).name == OWN


def test_the_command_line_adds_shows_lists_and_deletes(remote: Service) -> None:
    added = run(remote, "profiles", "add", "my-board", *OPTIONS, "--bandwidth", "100MB", "--source", "measured", "--json")
    assert added.exit_code == 0, added.stderr
    assert json.loads(added.stdout)["name"] == OWN
    assert json.loads(added.stdout)["flash_bytes"] == 2**20

    shown = run(remote, "profiles", "get", "my-board").stdout
    for words in (OWN, "216 MHz", "95.37 MiB of memory per second", "measured"):
        assert words in shown
    listed = run(remote, "profiles", "list").stdout
    assert "STM32F746 Discovery" in listed
    assert "my-board" in listed.split()

    assert json.loads(run(remote, "profiles", "delete", "my-board", "--json").stdout) == {"deleted": "my-board"}
    assert OWN not in remote.device_profiles.stored


def test_a_dry_run_adds_nothing_and_a_wrong_figure_is_wrong_usage(remote: Service) -> None:
    assert run(remote, "profiles", "add", "my-board", *OPTIONS, "--dry-run").exit_code == 0
    assert OWN not in remote.device_profiles.stored
    wrong = run(remote, "profiles", "add", "my-board", *OPTIONS, "--runtime", "onnx")
    assert wrong.exit_code == 2
    assert "tflm, litert" in wrong.stderr
