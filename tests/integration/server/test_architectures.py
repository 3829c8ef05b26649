"""Uploading, reading and listing architectures."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import grpc
import grpc.aio
import pytest

from secateur.core.graph import zoo
from secateur.server.architectures.handlers import MAX_KERAS_JSON_BYTES
from secateur.server.settings import ServerSettings
from secateur.v1 import architecture_service_pb2 as pb
from secateur.v1 import architecture_service_pb2_grpc
from tests.support.server import Api, Refusal, refusal, refusal_of, running


def keras_layer(op: str, name: str, **config: Any) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": op, "registered_name": None, "config": {"name": name, **config}}


def sequential(*layers: dict[str, Any]) -> str:
    first = keras_layer("InputLayer", "image", batch_shape=[None, 8, 8, 1], dtype="float32")
    config = {"name": "net", "layers": [first, *layers]}
    return json.dumps({"module": "keras", "class_name": "Sequential", "registered_name": None, "config": config})


CONV = keras_layer("Conv2D", "conv", filters=8, kernel_size=[3, 3], padding="same", activation="relu")
POOL = keras_layer("GlobalAveragePooling2D", "pool")
LOGITS = keras_layer("Dense", "logits", units=10)
NET = sequential(CONV, POOL, LOGITS)


def messages(
    api: Api, data: bytes, *, size: int | None = None, sha256: str = "", chunk: int = 64, **spec: Any
) -> Iterator[Any]:
    source = pb.KerasJsonSource(
        size_bytes=len(data) if size is None else size, sha256=sha256 or hashlib.sha256(data).hexdigest()
    )
    yield pb.UploadArchitectureRequest(spec=pb.ArchitectureSpec(parent=api.parent, keras_json=source, **spec))
    for offset in range(0, len(data), chunk):
        yield pb.UploadArchitectureRequest(chunk=data[offset : offset + chunk])


def upload(api: Api, text: str, **options: Any) -> pb.Architecture:
    architecture: pb.Architecture = api.architectures.UploadArchitecture(messages(api, text.encode(), **options))
    return architecture


def refused(api: Api, *requests: Any) -> Refusal:
    found = refusal(lambda: api.architectures.UploadArchitecture(iter(requests)))
    assert found.code is grpc.StatusCode.INVALID_ARGUMENT
    assert list(api.architectures.ListArchitectures(pb.ListArchitecturesRequest(parent=api.parent)).architectures) == []
    return found


def test_keras_json_is_read_from_its_chunks(api: Api) -> None:
    architecture = upload(api, NET, display_name="My net")

    assert architecture.name == f"{api.parent}/architectures/{architecture.digest[:16]}"
    assert (architecture.display_name, list(architecture.input_shape), architecture.classes) == ("My net", [8, 8, 1], 10)
    assert architecture.cost.parameters == (9 * 8 + 8) + (8 * 10 + 10)
    assert [(layer.name, layer.op, layer.group) for layer in architecture.layers] == [
        ("image", "InputLayer", ""),
        ("conv", "Conv2D", "conv"),
        ("pool", "GlobalAveragePooling2D", "conv"),
        ("logits", "Dense", "logits"),
    ]
    assert (architecture.layers[1].macs, architecture.layers[1].flops_share) == (8 * 8 * 9 * 8, 1.0)
    assert [(group.name, group.width, group.prunable) for group in architecture.groups] == [
        ("conv", 8, True),
        ("logits", 10, False),
    ]
    assert "output" in architecture.groups[1].reason


def test_a_network_of_the_zoo_needs_no_chunks(api: Api) -> None:
    architecture = api.upload_zoo("resnet20")

    assert architecture.digest == zoo.build("resnet20", (8, 8, 1), 10).digest
    assert architecture.display_name == "resnet20"
    assert sum(layer.parameters_share for layer in architecture.layers) == pytest.approx(1)


def test_get_returns_what_was_uploaded(api: Api) -> None:
    architecture = upload(api, NET)

    assert api.architectures.GetArchitecture(pb.GetArchitectureRequest(name=architecture.name)) == architecture


def test_the_same_graph_is_kept_once(api: Api) -> None:
    first, again = upload(api, NET, display_name="first"), upload(api, NET, display_name="second", chunk=7)

    assert again == first
    assert len(api.architectures.ListArchitectures(pb.ListArchitecturesRequest(parent=api.parent)).architectures) == 1


def test_validate_only_answers_and_keeps_nothing(api: Api) -> None:
    architecture = upload(api, NET, validate_only=True)

    assert architecture.cost.parameters > 0
    missing = refusal(lambda: api.architectures.GetArchitecture(pb.GetArchitectureRequest(name=architecture.name)))
    assert (missing.code, missing.reason) == (grpc.StatusCode.NOT_FOUND, "ARCHITECTURE_NOT_FOUND")
    assert missing.fields == ["name"]


def test_lists_are_paged_newest_first_and_brief(api: Api) -> None:
    names = [api.upload_zoo(classes=classes).name for classes in (2, 3, 4)]

    first = api.architectures.ListArchitectures(pb.ListArchitecturesRequest(parent=api.parent, page_size=2))
    second = api.architectures.ListArchitectures(
        pb.ListArchitecturesRequest(parent=api.parent, page_size=2, page_token=first.next_page_token)
    )

    assert [architecture.name for architecture in (*first.architectures, *second.architectures)] == names[::-1]
    assert second.next_page_token == ""
    assert all(not architecture.layers and not architecture.groups for architecture in first.architectures)


def test_a_page_token_of_nobody_is_refused(api: Api) -> None:
    request = pb.ListArchitecturesRequest(parent=api.parent, page_token="made-up")
    assert refusal(lambda: api.architectures.ListArchitectures(request)).reason == "PAGE_TOKEN_INVALID"


def test_another_project_does_not_see_it(api: Api) -> None:
    name = upload(api, NET).name.replace(api.parent, "projects/somebody-else")

    assert (
        refusal(lambda: api.architectures.GetArchitecture(pb.GetArchitectureRequest(name=name))).reason
        == "ARCHITECTURE_NOT_FOUND"
    )


@pytest.mark.parametrize("text", ["{", "[]", '{"class_name": "Functional"}', "null", '{"a": 1e999}'])
def test_what_is_no_keras_json_is_malformed(api: Api, text: str) -> None:
    found = refused(api, *messages(api, text.encode()))

    assert found.reason in {"ARCHITECTURE_MALFORMED", "LAYER_UNSUPPORTED"}


def test_what_is_no_text_is_malformed(api: Api) -> None:
    found = refused(api, *messages(api, b'{"\xff'))

    assert (found.reason, found.message) == ("ARCHITECTURE_MALFORMED", "Keras JSON is UTF-8 text. Received: byte 2 is not")


@pytest.mark.parametrize(
    "layer",
    [keras_layer("Lambda", "evil", function="gASV"), keras_layer("LSTM", "evil", units=3), keras_layer("MyLayer", "evil")],
)
def test_a_layer_that_is_not_on_the_list_is_refused_by_name(api: Api, layer: dict[str, Any]) -> None:
    found = refused(api, *messages(api, sequential(CONV, layer, POOL, LOGITS).encode()))

    assert found.reason == "LAYER_UNSUPPORTED"
    assert "evil" in found.message
    assert any("evil" in field for field in found.fields)


def test_a_layer_that_no_file_for_devices_can_hold_is_refused_by_name(api: Api) -> None:
    found = refused(
        api, *messages(api, sequential(CONV, keras_layer("Activation", "smooth", activation="gelu"), POOL, LOGITS).encode())
    )

    assert (found.reason, found.fields) == ("LAYER_UNSUPPORTED", ["smooth"])
    assert "silu" in found.message


def test_a_network_with_nothing_to_prune_is_refused(api: Api) -> None:
    found = refused(api, *messages(api, sequential(POOL, LOGITS).encode()))

    assert found.reason == "GRAPH_NOT_PRUNABLE"


def test_a_zoo_name_of_nobody_is_refused(api: Api) -> None:
    found = refusal(lambda: api.upload_zoo("resnet9000"))
    assert (found.reason, found.fields) == ("ZOO_UNKNOWN", ["spec.zoo.name"])


def test_more_than_may_be_sent_is_refused_before_it_is_sent(api: Api) -> None:
    found = refused(api, next(messages(api, b"{}", size=MAX_KERAS_JSON_BYTES + 1)))

    assert (found.reason, found.fields) == ("ARCHITECTURE_TOO_LARGE", ["spec.keras_json.size_bytes"])


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"size": len(NET) + 1}, "Fewer bytes"),
        ({"size": len(NET) - 1}, "More bytes"),
        ({"sha256": "0" * 64}, "SHA-256"),
    ],
)
def test_bytes_that_are_not_as_announced_are_refused(api: Api, options: dict[str, Any], problem: str) -> None:
    found = refused(api, *messages(api, NET.encode(), **options))

    assert found.reason == "ARCHITECTURE_MALFORMED"
    assert problem in found.message


def test_parts_out_of_order_are_refused(api: Api) -> None:
    spec, *chunks = messages(api, NET.encode())
    zoo_spec = pb.ArchitectureSpec(parent=api.parent, zoo=pb.ZooSource(name="resnet20", input_shape=[8, 8, 1], classes=10))

    for requests in ([], chunks, [spec, spec], [pb.UploadArchitectureRequest(spec=zoo_spec), chunks[0]]):
        assert refused(api, *requests).reason == "ARCHITECTURE_MALFORMED"


def test_every_message_of_an_upload_is_held_against_the_rules(api: Api) -> None:
    spec = next(messages(api, b"{}"))

    found = refused(api, spec, pb.UploadArchitectureRequest(chunk=b"x" * (1024 * 1024 + 1)))

    assert (found.reason, found.fields) == ("REQUEST_INVALID", ["chunk"])


def test_a_refusal_reaches_a_client_that_is_still_writing(settings: ServerSettings, api: Api) -> None:
    """With asyncio, where gRPC puts INTERNAL in its place if the call ends during a write."""
    requests = list(messages(api, bytes(6 * 2**20), size=1_000, chunk=2**16))
    reasons: Counter[str] = Counter()

    async def upload_often(address: str) -> None:
        async with grpc.aio.insecure_channel(address) as channel:
            architectures = architecture_service_pb2_grpc.ArchitectureServiceStub(channel)
            for _ in range(60):
                try:
                    await architectures.UploadArchitecture(iter(requests))
                except grpc.aio.AioRpcError as error:
                    reasons[refusal_of(error).reason] += 1

    with running(settings) as server:
        asyncio.run(upload_often(server.address))
    assert reasons == {"ARCHITECTURE_MALFORMED": 60}
