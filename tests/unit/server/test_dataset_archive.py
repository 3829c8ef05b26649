"""What is refused of an uploaded data set, and what the error says."""

from __future__ import annotations

import io
import struct
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from secateur.core.errors import InvalidArgument
from secateur.server.datasets import archive
from secateur.server.datasets.archive import Contents
from tests.support.datasets import arrays, images, inspected, labels, npz, zipped

WHOLE = npz(arrays(60, 9))


def refused(data: bytes, class_names: tuple[str, ...] = ()) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        inspected(data, class_names)
    return caught.value


def outcome(data: bytes) -> tuple[str, str]:
    error = refused(data)
    return error.reason, error.message


def changed(name: str, value: NDArray[Any]) -> bytes:
    return npz({**arrays(60, 9), name: value})


def npy(header: str, data: bytes = b"", version: tuple[int, int] = (1, 0)) -> bytes:
    text = header.encode("latin-1")
    length = struct.pack("<H" if version == (1, 0) else "<I", len(text))
    return b"\x93NUMPY" + bytes(version) + length + text + data


def members(**replaced: bytes) -> bytes:
    """Returns a whole archive with some of its members replaced."""
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as found:
        content = {name: found.read(name) for name in found.namelist()}
    return zipped(content | {f"{name}.npy": data for name, data in replaced.items()})


@pytest.mark.parametrize("compressed", [False, True])
def test_a_whole_file_tells_its_facts(compressed: bool) -> None:
    assert inspected(npz(arrays(60, 9), compressed=compressed)) == Contents((8, 8, 1), 3, 60, 9)


def test_without_a_test_part_a_fifth_becomes_one() -> None:
    assert inspected(npz(arrays(61))) == Contents((8, 8, 1), 3, 49, 12)


@pytest.mark.parametrize("kind", ["i1", "u1", "<i2", ">u2", "<i4", ">i4", "<u4", "<i8", ">i8", "<u8"])
def test_labels_are_read_in_every_integer_type_and_byte_order(kind: str) -> None:
    assert inspected(changed("y_train", labels(60).astype(kind))).classes == 3
    assert "y_train[59]" in refused(changed("y_train", np.append(labels(59), 99).astype(kind))).message


@given(st.lists(st.integers(0, 4), min_size=60, max_size=200))
@settings(max_examples=50)
def test_whatever_the_labels_every_class_is_there_often_enough_or_one_is_named(drawn: list[int]) -> None:
    data = npz({"x_train": images(len(drawn), side=1), "y_train": np.array(drawn, np.int16)})
    counts = np.bincount(drawn)
    if len(counts) >= 2 and counts.min() >= archive.LEAST_PER_CLASS_UNSPLIT:
        assert inspected(data).classes == len(counts)
    else:
        assert refused(data).reason == "DATASET_CLASS_MISSING"


def test_grey_images_need_no_channels_and_columns_of_labels_are_labels() -> None:
    found = {"x_train": images(60)[..., 0], "y_train": labels(60)[:, None]}
    assert inspected(npz(found)).input_shape == (8, 8, 1)


def test_arrays_in_fortran_order_are_as_good() -> None:
    assert inspected(changed("x_train", np.asfortranarray(images(60)))).train_images == 60


@pytest.mark.parametrize(
    ("value", "row", "received"),
    [(-3, 17, "-3"), (1_000, 59, "1000"), (-128, 0, "-128")],
)
def test_a_label_that_can_be_none_is_named_by_its_row(value: int, row: int, received: str) -> None:
    wrong = labels(60)
    wrong[row] = value
    error = refused(changed("y_train", wrong))
    assert error.reason == "DATASET_LABEL_INVALID"
    assert f"y_train[{row}]" in error.message
    assert error.message.endswith(f"Received: {received}")


def test_a_row_far_down_is_named_as_well() -> None:
    many = labels(200_001)
    many[200_000] = -1
    assert "y_train[200000]" in refused(npz({"x_train": images(200_001, side=1), "y_train": many})).message


def test_a_gap_names_the_class_and_the_row_of_the_label_above_it() -> None:
    wrong = labels(60)
    wrong[7] = 5
    error = refused(changed("y_train", wrong), ("cat", "dog", "eel", "fox", "gnu", "hen"))
    assert error.reason == "DATASET_CLASS_MISSING"
    assert "class 3 ('fox')" in error.message
    assert "up to 5, the label of y_train[7]" in error.message


def test_a_class_missing_from_the_test_part_is_named() -> None:
    reason, message = outcome(changed("y_test", np.zeros(9, np.int64)))
    assert reason == "DATASET_CLASS_MISSING"
    assert "y_test must have at least 1 images of class 1" in message


def test_a_class_with_too_few_images_to_validate_is_refused() -> None:
    few = np.array([0] * 51 + [1] * 9)
    assert outcome(changed("y_train", few))[0] == "DATASET_CLASS_MISSING"
    twelve = {"x_train": images(60), "y_train": np.array([0] * 48 + [1] * 12)}
    assert "at least 13" in outcome(npz(twelve))[1]


def test_one_class_is_no_classification_and_no_image_is_no_data_set() -> None:
    for count in (60, 0):
        assert outcome(npz({"x_train": images(count), "y_train": np.zeros(count, np.int64)}))[0] == "DATASET_CLASS_MISSING"


@pytest.mark.parametrize(
    ("name", "value", "reason", "told"),
    [
        ("y_train", labels(59), "DATASET_LENGTH_MISMATCH", "60 images and 59 labels"),
        ("y_test", labels(8), "DATASET_LENGTH_MISMATCH", "x_test and y_test"),
        ("x_train", images(60).astype(np.float32), "DATASET_DTYPE_INVALID", "x_train must hold uint8"),
        ("y_train", labels(60).astype(np.float64), "DATASET_DTYPE_INVALID", "y_train must hold integers"),
        ("y_train", labels(60).astype("U2"), "DATASET_DTYPE_INVALID", "y_train must hold integers"),
        ("x_train", images(60).reshape(60, -1), "DATASET_SHAPE_INVALID", "(60, 64)"),
        ("x_test", images(9, side=9), "DATASET_SHAPE_INVALID", "[8, 8, 1]"),
        ("y_train", np.eye(3, dtype=np.int64)[labels(60)], "DATASET_SHAPE_INVALID", "(n,) or (n, 1)"),
        ("y_train", np.int64(1), "DATASET_SHAPE_INVALID", "()"),
        ("x_train", np.zeros((60, 0, 8, 1), np.uint8), "DATASET_SHAPE_INVALID", "pixels"),
        ("x_train", np.zeros((60, 1, 1_025, 1), np.uint8), "DATASET_SHAPE_INVALID", "1,024"),
        ("x_train", np.zeros((60, 1, 1, 17), np.uint8), "DATASET_SHAPE_INVALID", "16 channels"),
        ("x_train", np.zeros((1_000_001, 1, 1, 1), np.uint8), "DATASET_SHAPE_INVALID", "1,000,000 images"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(name: str, value: NDArray[Any], reason: str, told: str) -> None:
    found = outcome(changed(name, value))
    assert found[0] == reason
    assert told in found[1]


def test_the_largest_image_is_taken() -> None:
    largest = npz({"x_train": np.zeros((60, 1, 1_024, 16), np.uint8), "y_train": labels(60)}, compressed=True)
    assert inspected(largest).input_shape == (1, 1_024, 16)


def test_objects_are_never_unpickled() -> None:
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return print, ("unpickled",)

    data = npz({**arrays(60, 9), "y_train": np.array([Evil()] * 60, dtype=object)}, pickled=True)
    reason, message = outcome(data)
    assert reason == "DATASET_DTYPE_INVALID"
    assert "a pickle is never read" in message
    records = np.zeros(60, dtype=[("label", "i4")])
    assert outcome(changed("y_train", records))[0] == "DATASET_DTYPE_INVALID"


@pytest.mark.parametrize(
    "data",
    [
        npz({"x_train": images(60)}),
        npz({**arrays(60), "x_test": images(9)}),
        npz({**arrays(60, 9), "weights": labels(60)}),
        npz({"arr_0": images(60), "arr_1": labels(60)}),
        zipped({}),
        zipped({f"{number}.npy": b"" for number in range(9)}),
    ],
)
def test_other_arrays_are_refused(data: bytes) -> None:
    reason, message = outcome(data)
    assert reason == "DATASET_ARRAYS_INVALID"
    assert "x_train and y_train" in message


def test_an_archive_whose_end_hides_how_many_members_it_lists_is_refused_before_they_are_listed() -> None:
    listed = zipped({f"{number}.npy": b"" for number in range(9)})
    end = struct.Struct("<4s4H2LH")
    body, (_, *_, size, start, _) = listed[: -end.size], end.unpack(listed[-end.size :])
    longer_end = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 9, 9, size, start)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1)
    hiding = body + longer_end + locator + end.pack(b"PK\x05\x06", 0, 0, 2, 2, size, start, 0)
    with zipfile.ZipFile(io.BytesIO(hiding)) as found:
        assert len(found.namelist()) == 9
    assert outcome(hiding)[0] == "DATASET_MALFORMED"


def test_an_array_twice_is_refused() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as twice:
        twice.writestr("x_train.npy", b"")
        with pytest.warns(UserWarning, match="Duplicate"):
            twice.writestr("x_train.npy", b"")
    assert outcome(file.getvalue())[0] == "DATASET_ARRAYS_INVALID"


@pytest.mark.parametrize("cut", [0, 10, 1_000, len(WHOLE) - 100, len(WHOLE) - 1])
def test_a_file_that_is_cut_off_is_refused(cut: int) -> None:
    assert outcome(WHOLE[:cut])[0] == "DATASET_MALFORMED"


def test_a_header_that_promises_more_than_there_is_is_refused() -> None:
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as found:
        longer = found.read("x_train.npy").replace(b"(60, 8, 8, 1)", b"(90, 8, 8, 1)")
    reason, message = outcome(members(x_train=longer))
    assert reason == "DATASET_MALFORMED"
    assert "x_train has as many bytes as its shape says" in message


@pytest.mark.parametrize(
    "header",
    [
        "",
        "{}",
        "__import__('os').system('false')",
        "(" * 5_000,
        "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8, 8, -1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8, 8, True)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': [60, 8, 8, 1]}",
        "{'descr': '|u1', 'fortran_order': 0, 'shape': (60, 8, 8, 1)}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8, 8, 1), 'extra': 1}",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8, 8, 1)}" + " " * 10_000,
    ],
)
def test_a_header_that_is_none_is_refused(header: str) -> None:
    reason, message = outcome(members(x_train=npy(header, images(60).tobytes())))
    assert reason == "DATASET_MALFORMED"
    assert "header of x_train" in message.lower()


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"", "no array"),
        (b"\x93NUMPY", "no array"),
        (npy("{}").replace(b"NUMPY", b"NUMPX"), "no array"),
        (npy("{}", version=(3, 0)), "in a version"),
        (b"\x93NUMPY\x01\x00\xff\xffshort", "at most 10,000 bytes"),
        (b"\x93NUMPY\x01\x00\xff\x00short", "ends within its header"),
    ],
)
def test_an_array_of_another_format_is_refused(data: bytes, told: str) -> None:
    reason, message = outcome(members(x_train=data))
    assert reason == "DATASET_MALFORMED"
    assert told in message


def test_version_two_of_the_format_is_read() -> None:
    header = "{'descr': '|u1', 'fortran_order': False, 'shape': (60, 8, 8, 1), }\n"
    assert inspected(members(x_train=npy(header, images(60).tobytes(), version=(2, 0)))).train_images == 60


def test_a_bomb_is_refused_before_it_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MAX_ARRAY_BYTES", 2**20)
    bomb = npz({**arrays(60, 9), "x_test": np.zeros((9, 512, 512, 1), np.uint8)}, compressed=True)
    assert len(bomb) < 2**15
    assert outcome(bomb)[0] == "DATASET_TOO_LARGE"


def test_other_compressions_are_refused() -> None:
    with zipfile.ZipFile(io.BytesIO(WHOLE)) as found:
        content = {name: found.read(name) for name in found.namelist()}
    assert outcome(zipped(content, zipfile.ZIP_LZMA))[0] == "DATASET_MALFORMED"


@pytest.mark.parametrize("place", [0, 1, 9_999, 30_000, 61_439])
@pytest.mark.parametrize("array", ["x_train", "x_test"])
def test_an_image_that_is_not_what_was_saved_is_refused(array: str, place: int) -> None:
    found = arrays(60, 60, side=32)  # so many that `zipfile` has not read, and checked, them all with the header
    damaged = bytearray(npz(found))
    damaged[damaged.index(found[array].tobytes()) + place] ^= 1
    assert outcome(bytes(damaged))[0] == "DATASET_MALFORMED"


def test_a_stored_member_is_as_long_as_it_says() -> None:
    short = bytearray(npz(arrays(60, 9, side=32)))
    with zipfile.ZipFile(io.BytesIO(short)) as found:
        sizes = found.getinfo("x_train.npy").file_size, found.getinfo("x_train.npy").file_size
    in_list = short.rindex(struct.pack("<2L", *sizes))
    short[in_list : in_list + 8] = struct.pack("<2L", sizes[0] - 1, sizes[1])
    assert outcome(bytes(short))[0] == "DATASET_MALFORMED"


@given(st.data())
@settings(max_examples=300)
def test_damage_is_refused_or_harmless_and_nothing_else_happens(data: st.DataObject) -> None:
    damaged = bytearray(npz(arrays(60, 9, side=2), compressed=data.draw(st.booleans())))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    try:
        contents = inspected(bytes(damaged))
    except InvalidArgument:
        return
    assert contents.classes >= 2
