"""Values that cannot be sent: each is refused by an error that names it, before anything is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from secateur.client import Augmentation, Client, HybridPolicy, Recipe, SearchPolicy, Target, UsageError, Zoo
from tests.unit.client.command_line import NET, SUBMIT, TARGET, run
from tests.unit.client.remote.service import Service

DEVICE = Target("stm32f746")
NET_OF_ZOO = Zoo("resnet20", (8, 8, 1), 10)
NOT_UTF8 = "\udcff\udcfe"
"""What a command line makes of the bytes FF FE."""


def _submit(**arguments: Any) -> Callable[[Client], object]:
    return lambda client: client.submit(NET_OF_ZOO, dataset=arguments.pop("dataset", "digits"), targets=DEVICE, **arguments)


@pytest.mark.parametrize(
    ("call", "field", "received"),
    [
        (_submit(seed=-1), "seed", "-1"),
        (_submit(seed=2**64), "seed", "18446744073709551616"),
        (_submit(seed="1"), "seed", "'1'"),
        (_submit(labels={"a": 1}), "labels", "{'a': 1}"),
        (_submit(labels=["a"]), "labels", "['a']"),
        (_submit(max_run=90), "max_run", "90"),
        (_submit(display_name=NOT_UTF8), "display_name", r"'\udcff\udcfe'"),
        (_submit(dataset=5), "dataset", "5"),
        (_submit(round_to=2.0), "round_to", "2.0"),
        (_submit(round_to="8"), "round_to", "'8'"),
        (_submit(min_width=2**32), "min_width", "4294967296"),
        (_submit(temperature="hot"), "temperature", "'hot'"),
        (_submit(search=SearchPolicy(2**32)), "candidates", "4294967296"),
        (_submit(mode="hybrid", hybrid=HybridPolicy(alpha="a")), "alpha", "'a'"),  # type: ignore[arg-type]
        (_submit(recipe=NOT_UTF8), "name", r"'\udcff\udcfe'"),
        (_submit(recipe=Recipe(augmentation=Augmentation(crop=2**32))), "crop", "4294967296"),
        (lambda client: client.quote(NET_OF_ZOO, targets=DEVICE, seed=-1), "seed", "-1"),
        (lambda client: client.quote(NET_OF_ZOO, targets=Target(NOT_UTF8)), "device_profile", r"'\udcff\udcfe'"),
        (lambda client: client.upload(Zoo("resnet20", (8, 8, 1), 2**40)), "classes", "1099511627776"),
        (lambda client: client.upload(Zoo("resnet20", (2**32, 8, 1), 10)), "input_shape", "(4294967296, 8, 1)"),
        (lambda client: client.upload("a\0b"), "architecture", r"'a\x00b'"),
        (lambda client: client.upload('{"name": "' + NOT_UTF8 + '"}'), "architecture", r"\udcff\udcfe"),
        (lambda client: list(client.search_candidates("1", -1)), "target_index", "-1"),
        (lambda client: list(client.jobs(f'display_name = "{NOT_UTF8}"')), "filter", r"\udcff\udcfe"),
        (lambda client: list(client.models(order_by=NOT_UTF8)), "order_by", r"'\udcff\udcfe'"),
        (lambda client: client.job(NOT_UTF8), "name", r"'\udcff\udcfe'"),
        (lambda client: client.delete_dataset(NOT_UTF8), "name", r"'\udcff\udcfe'"),
        (lambda client: client.device_profile(5), "name", "5"),
        (lambda client: client.upload_dataset("mine", "a\0b"), "path", r"'a\x00b'"),
        (lambda client: Client(NOT_UTF8), "address", r"'\udcff\udcfe'"),
        (lambda client: Client(client.address, NOT_UTF8), "project", r"'\udcff\udcfe'"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(
    remote: Service, client: Client, call: Callable[[Client], object], field: str, received: str
) -> None:
    with pytest.raises(UsageError) as caught:
        call(client)
    assert caught.value.field == field
    assert caught.value.message.partition("Received: ")[2].find(received) >= 0, caught.value.message
    assert not remote.faults.requests


@pytest.mark.parametrize("wrong", [{"crop": -1}, {"crop": 1.5}, {"cutout": 2**32}, {"class_names": [NOT_UTF8, "b"]}])
def test_a_data_set_that_cannot_be_described_is_refused(
    remote: Service, client: Client, tmp_path: Path, wrong: dict[str, Any]
) -> None:
    path = tmp_path / "set.npz"
    path.write_bytes(b"PK\x05\x06" + bytes(18))  # an archive without entries
    with pytest.raises(UsageError) as caught:
        client.upload_dataset("mine", path, **wrong)
    assert caught.value.field in wrong
    assert not remote.faults.requests


def test_a_class_whose_folder_has_a_name_in_no_utf8_is_refused(remote: Service, tmp_path: Path) -> None:
    for name in ("a", NOT_UTF8):
        (tmp_path / name).mkdir()
        for number in range(13):
            Image.new("L", (8, 8)).save(tmp_path / name / f"{number}.png")
    result = run(remote, "datasets", "upload", "mine", str(tmp_path), "--dry-run")
    assert result.exit_code == 2
    assert r"class_names must be a list, each item text that UTF-8 can write. Received: ('a', '\udcff\udcfe')" in result.stderr
    assert not remote.faults.requests


def test_the_events_of_a_job_have_numbers_from_0(client: Client) -> None:
    job = client.submit(NET_OF_ZOO, dataset="digits", targets=DEVICE)
    with pytest.raises(UsageError, match=r"after_sequence must be a whole number, 0 or more .*Received: -1"):
        list(job.watch(after=-1))


@pytest.mark.parametrize(("shape", "classes"), [((8.0, 8, 1), 10), (("8", "8", "1"), 10), (8, 10), ((8, 8, 1), "10")])
def test_sizes_of_a_zoo_network_are_whole_numbers(shape: Any, classes: Any) -> None:
    with pytest.raises(UsageError, match="Received: "):
        Zoo("resnet20", shape, classes)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([*SUBMIT, "--seed", "-1"], "seed must be a whole number, 0 or more and of at most 64 bits. Received: -1"),
        (["quote", *NET, *TARGET, "--seed", "18446744073709551616"], "seed must be"),
        ([*SUBMIT, "--round-to", "99999999999"], "round_to must be a whole number, 0 or more and of at most 32 bits"),
        (["architectures", "upload", "resnet20", "--input-shape", "8x8x1", "--classes", "99999999999"], "classes must be"),
        (["architectures", "upload", "resnet20", "--input-shape", "99999999999x8x1", "--classes", "9"], "input_shape must be"),
        (["jobs", "candidates", "x", "--target", "99999999999"], "target_index must be"),
        (["jobs", "list", "--filter", f'display_name = "{NOT_UTF8}"'], "filter must be text that UTF-8 can write"),
        ([*SUBMIT, "--name", NOT_UTF8], "display_name must be text that UTF-8 can write"),
        ([*SUBMIT, "--max-pending", "99999999999999h"], "max_pending must be a time such as 90, 90s, 10m or 1h, at most"),
        ([*SUBMIT, "--max-run", "99999999999999h"], "max_run must be a time such as 90, 90s, 10m or 1h, at most 315576000000"),
        (
            ["profiles", "add", "x", "--flash", "99999999999999999999GiB", "--ram", "1MiB", "--clock", "1GHz", "--macs", "1M"],
            "flash must be a size such as 65536, 64KiB, 64kB or 1MiB, at most 18446744073709551615",
        ),
        (["quote", "ResNet20", "--input-shape", "8x8x1", "--classes", "10", *TARGET], "in lower case, such as resnet20"),
        (["architectures", "upload", "resnet20", "--input-shape", "9" * 5000 + "x8x1", "--classes", "9"], "An input shape is"),
        (["jobs", "list", "--limit", "99999999999999999999"], "--limit"),
        (["quote", "ResNet20", *TARGET], "in lower case"),
        (["jobs", "delete", NOT_UTF8], "name must be text that UTF-8 can write"),
    ],
)
def test_on_the_command_line_it_is_wrong_usage(remote: Service, arguments: list[str], words: str) -> None:
    result = run(remote, *arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert not remote.faults.requests
