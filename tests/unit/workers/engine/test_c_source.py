"""The int8 file as C++ source: what it holds, and that a compiler takes it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from secateur.workers.engine.c_source import read_c_source, write_c_source
from secateur.workers.engine.operators import operator_names
from tests.unit.workers.engine.conftest import Trained

COMPILER = shutil.which("c++") or shutil.which("g++") or shutil.which("clang++")

RESOLVER = """
#pragma once
#include <cstdio>
enum TfLiteStatus { kTfLiteOk = 0, kTfLiteError = 1 };
namespace tflite {
template <unsigned int tOpCount>
class MicroMutableOpResolver {
 public:
  TfLiteStatus AddConv2D() { return Add(); }
  TfLiteStatus AddFullyConnected() { return Add(); }
  TfLiteStatus AddMean() { return Add(); }
 private:
  TfLiteStatus Add() { return added_++ < tOpCount ? kTfLiteOk : kTfLiteError; }
  unsigned int added_ = 0;
};
}  // namespace tflite
"""
"""What TensorFlow Lite Micro's own header declares, as far as the test needs it; no package brings that header."""

PROGRAM = """
#include "tflm-source.h"
#include "tflm-source.h"
#include <cstdint>
int main() {
  secateur_model::OpResolver resolver;
  if (secateur_model::AddOperators(resolver) != kTfLiteOk) return 1;
  if (reinterpret_cast<std::uintptr_t>(secateur_model::kModel) % 16 != 0) return 2;
  std::fwrite(secateur_model::kModel, 1, secateur_model::kModelBytes, stdout);
}
"""


@pytest.fixture(scope="module")
def source(trained: Trained) -> bytes:
    return write_c_source(trained.int8, 12_352)


def test_the_array_is_the_file(source: bytes, trained: Trained) -> None:
    assert read_c_source(source) == trained.int8


def test_the_header_says_what_a_firmware_needs(source: bytes) -> None:
    text = source.decode()
    assert "kArenaBytes = 12352;" in text
    assert re.search(r"// Input:  int8 1x8x8x1, real = 0\.0039\d+ \* \(value - -128\)", text)
    assert re.search(r"// Output: int8 1x10, real = ", text)
    assert max(map(len, text.splitlines())) <= 128


def test_exactly_the_operators_of_the_file_are_registered(source: bytes, trained: Trained) -> None:
    assert set(operator_names(trained.int8)) == {"CONV_2D", "MEAN", "FULLY_CONNECTED"}
    assert re.findall(r"resolver\.(Add\w+)\(\)", source.decode()) == ["AddConv2D", "AddFullyConnected", "AddMean"]
    assert b"MicroMutableOpResolver<3>" in source


@pytest.mark.skipif(COMPILER is None, reason="there is no C++ compiler on this machine")
def test_a_compiler_takes_it_and_its_bytes_are_those_of_the_file(source: bytes, trained: Trained, tmp_path: Path) -> None:
    assert COMPILER is not None
    header = tmp_path / "tensorflow/lite/micro/micro_mutable_op_resolver.h"
    header.parent.mkdir(parents=True)
    header.write_text(RESOLVER)
    (tmp_path / "tflm-source.h").write_bytes(source)
    (tmp_path / "main.cc").write_text(PROGRAM)
    command = [COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", "-I.", "main.cc", "-o", "main"]
    subprocess.run(command, cwd=tmp_path, check=True, timeout=240)
    assert subprocess.run(["./main"], cwd=tmp_path, check=True, stdout=subprocess.PIPE, timeout=60).stdout == trained.int8
