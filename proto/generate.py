"""Generates the Python code of the API from its .proto files, or checks that what is committed is up to date.

`python proto/generate.py` writes; `--check` also lints, formats and compares, and changes nothing. The rules of
`buf/validate` come from the descriptor inside the pinned `protovalidate` package, so no third-party .proto is copied here.
"""

from __future__ import annotations

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from protovalidate._gen.buf.validate import validate_pb

ROOT = Path(__file__).parent
BASELINE = ROOT / "baseline.binpb"
VALIDATE = "buf/validate/validate.proto"


def run(*command: str | Path) -> None:
    """Runs a command with the tools beside this interpreter on its path; ends the program if it fails."""
    tools = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    status = subprocess.run([str(part) for part in command], cwd=ROOT, env=tools, check=False).returncode
    if status:
        sys.exit(status)


def build_image(folder: Path) -> Path:
    """Compiles every .proto of ours and its imports, comments included, into one descriptor set."""
    well_known = folder / "validate.binpb"
    # One-message FileDescriptorSet: field 1, length-delimited.
    descriptor = validate_pb.desc().proto.to_binary()
    well_known.write_bytes(b"\x0a" + _varint(len(descriptor)) + descriptor)
    image = folder / "image.binpb"
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "secateur").rglob("*.proto"))
    run(
        sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={ROOT}", f"--descriptor_set_in={well_known}",
        f"--descriptor_set_out={image}", "--include_imports", "--include_source_info", *protos,
    )  # fmt: skip
    return image


def generate(image: Path, target: Path) -> None:
    """Writes `*_pb2.py`, `*_pb2_grpc.py` and their stubs for our files, and `buf/validate/validate_pb2.py`, to `target`."""
    protos = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "secateur").rglob("*.proto"))
    outputs = [f"--{kind}{target}" for kind in ("python_out=", "mypy_out=quiet:", "grpc_python_out=", "mypy_grpc_out=quiet:")]
    run(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}", *outputs[:2], VALIDATE)
    run(sys.executable, "-m", "grpc_tools.protoc", f"--descriptor_set_in={image}", *outputs, *protos)


def generated(folder: Path) -> set[Path]:
    """Returns the generated files below `folder`, relative to it."""
    return {path.relative_to(folder) for path in folder.rglob("*_pb2*.py*") if path.suffix in {".py", ".pyi"}}


def check(image: Path, fresh: Path) -> None:
    """Ends the program with status 1 if the .proto files break a rule or the committed code is not what they generate."""
    run("buf", "lint", image, "--config", ROOT / "buf.yaml")
    run("buf", "format", "--diff", "--exit-code", "--path", "secateur")
    if BASELINE.exists():
        run("buf", "breaking", image, "--against", BASELINE, "--config", ROOT / "buf.yaml")
    stale = sorted(
        str(path)
        for path in generated(fresh) | generated(ROOT)
        if not (ROOT / path).exists()
        or not (fresh / path).exists()
        or not filecmp.cmp(ROOT / path, fresh / path, shallow=False)
    )
    if stale:
        sys.exit("generated code differs from the .proto files; run `make proto`: " + ", ".join(stale))
    print(f"proto: {len(generated(ROOT))} generated files are up to date")


def _varint(number: int) -> bytes:
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def main() -> None:
    """Generates, or checks with `--check`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; fail on any difference")
    parser.add_argument("--release", action="store_true", help="also make this schema the one that later ones may not break")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        image = build_image(Path(scratch))
        if not arguments.check:
            generate(image, ROOT)
            run("buf", "format", "--write", "--path", "secateur")
            if arguments.release:
                run("buf", "build", image, "--exclude-source-info", "--output", BASELINE)
            return
        fresh = Path(scratch) / "fresh"
        fresh.mkdir()
        generate(image, fresh)
        check(image, fresh)


if __name__ == "__main__":
    main()
