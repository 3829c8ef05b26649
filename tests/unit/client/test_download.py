"""Files of a model onto the disk."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from secateur.client import Client, DigestMismatch, NotFound, Unavailable, UsageError
from secateur.v1 import model_service_pb2 as pb
from tests.unit.client.remote.models import CONTENT
from tests.unit.client.remote.service import Service

Content = bytes | Iterator[bytes]
Serve = Callable[[int, Content], str]


def test_download_writes_every_file_and_what_is_known(client: Client, tmp_path: Path) -> None:
    paths = client.model("aa01").download(tmp_path / "new" / "folder")
    beside = tmp_path / "new" / "folder" / "model.json"
    assert [path.name for path in paths] == ["litert-float32.tflite", "litert-int8.tflite"]
    assert paths[0].read_bytes() == CONTENT["litert-float32"]
    assert paths[1].read_bytes() == CONTENT["litert-int8"]
    known = json.loads(beside.read_text())
    assert known["compliance"][0]["method"] == "predicted"
    assert known["measurements"][0]["value"] == 12.5
    assert set((tmp_path / "new" / "folder").iterdir()) == {*paths, beside}


def test_a_download_that_breaks_goes_on_where_it_broke(client: Client, remote: Service, tmp_path: Path) -> None:
    remote.models.break_after = [3, 0, 2]
    (path,) = client.model("aa01").download(tmp_path, ["litert-int8"])
    assert path.read_bytes() == CONTENT["litert-int8"]
    offsets = [
        request.read_offset
        for request in remote.faults.requests["DownloadArtifact"]
        if isinstance(request, pb.DownloadArtifactRequest)
    ]
    assert offsets == [0, 30_000, 30_000, 50_000]


@pytest.mark.parametrize("damaged", [b"other", CONTENT["litert-int8"][:-1], CONTENT["litert-int8"][:-1] + b"!"])
def test_a_wrong_digest_leaves_no_file(client: Client, remote: Service, tmp_path: Path, damaged: bytes) -> None:
    remote.models.content["litert-int8"] = damaged
    with pytest.raises(DigestMismatch, match="litert-int8"):
        client.model("aa01").download(tmp_path, ["litert-int8"])
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_digest_leaves_the_older_file(client: Client, remote: Service, tmp_path: Path) -> None:
    model = client.model("aa01")
    model.download(tmp_path)
    remote.models.content["litert-int8"] = b"other"
    with pytest.raises(DigestMismatch):
        model.download(tmp_path)
    assert (tmp_path / "litert-int8.tflite").read_bytes() == CONTENT["litert-int8"]


def test_a_download_that_fails_for_good_leaves_no_file(client: Client, remote: Service, tmp_path: Path) -> None:
    model = client.model("aa01")
    remote.models.break_after = [2]
    remote.faults.fail("DownloadArtifact", "OK")
    remote.faults.fail("DownloadArtifact", "NOT_FOUND", reason="ARTIFACT_NOT_FOUND")
    with pytest.raises(NotFound):
        model.download(tmp_path)
    remote.faults.fail("DownloadArtifact", times=100_000)
    with pytest.raises(Unavailable):
        model.download(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("kind", "name"), [("tflm-source", "tflm-source.h"), ("keras", "model.keras")])
def test_files_that_are_no_flatbuffers_have_names_of_their_own(
    client: Client, remote: Service, tmp_path: Path, kind: str, name: str
) -> None:
    remote.models.offered[kind] = remote.models.content[kind] = b"content"
    (path,) = client.model("aa01").download(tmp_path, [kind])
    assert (path.name, path.read_bytes()) == (name, b"content")


def test_a_format_that_the_model_lacks_is_refused(client: Client, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="litert-float32, litert-int8"):
        client.model("aa01").download(tmp_path, ["onnx"])
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def http() -> Iterator[Serve]:
    """A web server; the function makes it answer everything with a status and bytes, and returns a URL of it."""
    answer: list[tuple[int, Content]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, content = answer[0]
            self.send_response(status)
            if isinstance(content, bytes):
                self.send_header("Content-Length", str(len(CONTENT["litert-int8"])))
            self.end_headers()
            with suppress(ConnectionError):
                self.wfile.writelines([content] if isinstance(content, bytes) else content)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()

        def serve(status: int, content: Content) -> str:
            answer[:] = [(status, content)]
            return f"http://127.0.0.1:{server.server_port}/file"

        yield serve
        server.shutdown()
        thread.join()


def test_the_bytes_come_from_the_url_where_there_is_one(client: Client, remote: Service, tmp_path: Path, http: Serve) -> None:
    remote.models.urls["litert-int8"] = http(200, CONTENT["litert-int8"])
    (path,) = client.model("aa01").download(tmp_path, ["litert-int8"])
    assert path.read_bytes() == CONTENT["litert-int8"]
    assert len(remote.faults.requests["DownloadArtifact"]) == 1


@pytest.mark.parametrize(
    ("status", "content"),
    [
        (200, bytes(len(CONTENT["litert-int8"]))),
        (200, CONTENT["litert-int8"][:-9]),
        (200, CONTENT["litert-int8"] + b"more"),
        (403, b"expired"),
        (500, b""),
    ],
)
def test_where_the_url_fails_the_service_sends_the_file(
    client: Client, remote: Service, tmp_path: Path, http: Serve, status: int, content: bytes
) -> None:
    remote.models.urls["litert-int8"] = http(status, content)
    (path,) = client.model("aa01").download(tmp_path, ["litert-int8"])
    assert path.read_bytes() == CONTENT["litert-int8"]


def test_a_url_that_sends_more_than_the_file_is_not_read_to_its_end(
    client: Client, remote: Service, tmp_path: Path, http: Serve
) -> None:
    sent = []

    def much() -> Iterator[bytes]:
        for number in range(200):
            sent.append(number)
            yield bytes(2**20)

    remote.models.urls["litert-int8"] = http(200, much())
    (path,) = client.model("aa01").download(tmp_path, ["litert-int8"])
    assert path.read_bytes() == CONTENT["litert-int8"]
    assert 0 < len(sent) < 100


@pytest.mark.parametrize("url", ["http://127.0.0.1:1/nobody-there", "file:///etc/hostname", "nonsense"])
def test_a_url_that_leads_nowhere_does_no_harm(client: Client, remote: Service, tmp_path: Path, url: str) -> None:
    remote.models.urls["litert-int8"] = url
    (path,) = client.model("aa01").download(tmp_path, ["litert-int8"])
    assert path.read_bytes() == CONTENT["litert-int8"]


@pytest.mark.parametrize("place", ["file", "file/below", "/proc/x", "a\0b"])
def test_a_place_where_no_folder_can_be_is_refused(client: Client, remote: Service, tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("older")
    with pytest.raises(UsageError) as caught:
        client.model("aa01").download(tmp_path / place)
    assert (caught.value.reason, caught.value.field) == ("PATH_UNWRITABLE", "path")
    assert "another" in caught.value.message
    assert repr(str(tmp_path / place)) in caught.value.message
    assert not remote.faults.requests["DownloadArtifact"]
    assert (tmp_path / "file").read_text() == "older"


@pytest.mark.parametrize("name", ["litert-int8.tflite", "model.json"])
def test_a_folder_in_the_place_of_a_file_is_refused(client: Client, tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(UsageError, match=name):
        client.model("aa01").download(tmp_path, ["litert-int8"])
    assert not list(tmp_path.glob(".*")), "nothing half-written"
    assert (tmp_path / name).is_dir()


@pytest.mark.parametrize("at_url", [False, True])
def test_a_full_disk_is_no_wrong_usage_and_leaves_no_file(remote: Service, tmp_path: Path, http: Serve, at_url: bool) -> None:
    if at_url:
        remote.models.urls["litert-int8"] = http(200, CONTENT["litert-int8"])
    # A limit on the size of a file stands for a full disk: writing fails in the middle; of the bytecode too, hence the -B.
    limited = ["bash", "-c", 'ulimit -f 8; exec "$@"', "-", sys.executable, "-B", "-m", "secateur.client.cli"]
    download = ["--address", remote.address, "models", "download", "aa01", str(tmp_path), "--format", "litert-int8"]
    result = subprocess.run([*limited, *download], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("error: WRITE_FAILED: Writing failed, and nothing was kept: File too large. Received: ")
    assert result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_one_format_may_be_given_alone(client: Client, tmp_path: Path) -> None:
    (path,) = client.model("aa01").download(tmp_path, "litert-int8")
    assert path.name == "litert-int8.tflite"
