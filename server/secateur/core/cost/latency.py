"""How long an inference takes on a class of hardware: a roofline over the operators of the int8 file.

t = sum over operators of max(MACs / rate, bytes / bandwidth) + overhead. Bytes are those of int8 weights, of the tensors read
and of the tensor written, each moved once. A prediction from a profile's rates, to plan with; it knows no caches, no kernels
that a library lacks and no steps at odd widths.
"""

# without postponed annotations: cattrs reads those of a NamedTuple as they are
from collections.abc import Iterable
from typing import NamedTuple

from secateur.core.devices import DeviceProfile


class Work(NamedTuple):
    """What one layer of the int8 file does, those folded into it included.

    Args:
        macs: Multiply-accumulates.
        moved_bytes: Bytes of int8 weights and tensors that it reads or writes.
        operators: Operators that it takes.
    """

    macs: int
    moved_bytes: int
    operators: int = 1


def seconds_of(work: Work, profile: DeviceProfile) -> float:
    """Returns the predicted time of one layer, in seconds."""
    busy = max(work.macs / profile.macs_per_second, work.moved_bytes / profile.bytes_per_second)
    return busy + work.operators * profile.seconds_per_operator


def predict_latency_ms(work: Iterable[Work], profile: DeviceProfile) -> float:
    """Returns the predicted time of one inference, in milliseconds.

    Args:
        work: What every layer of the network does.
        profile: Class of hardware that it runs on.
    """
    return 1_000 * sum(seconds_of(each, profile) for each in work)
