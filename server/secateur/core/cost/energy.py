"""Energy of one inference, estimated from multiply-accumulates and bytes moved (45 nm, 0.9 V).

Two models. `horowitz` has the constants of M. Horowitz, "Computing's energy problem" (ISSCC 2014), in picojoule: a 32-bit
multiplication 3.7 and addition 0.9, an 8-bit multiplication 0.2 and addition 0.03, a 32-bit word of DRAM 640. `paper` has those
of seed A (Zawish, Davy & Abraham, arXiv 2208.12816) as its tool applies them: 2.3 pJ per "FLOP", times the number of MACs, and
640 pJ per MB. The first halves the energy of a MAC; the second takes the price of a word for that of a megabyte, so its data
part is 262,144 times too small. It is kept to compare with the paper.

Both are estimates that count every weight and every output of a convolution or dense layer as moved once. Where weights stay in
the flash or SRAM of a micro-controller, no DRAM is involved and the data part is smaller.
"""

from __future__ import annotations

from typing import Final, NamedTuple

_PICOJOULE_IN_MICROJOULE: Final = 1e-6
_MIB: Final = 2**20
_WORD_BYTES: Final = 4
_INT8_SHARE: Final = 1 / 4

_PAPER_MAC: Final = 2.3
_PAPER_MEGABYTE: Final = 640.0
_FLOAT_MAC: Final = 3.7 + 0.9
_INT8_MAC: Final = 0.2 + 0.03
_DRAM_WORD: Final = 640.0


class Energy(NamedTuple):
    """Estimated energy of one inference.

    Args:
        compute: Of the multiply-accumulates, in microjoule.
        data: Of moving weights and outputs, in microjoule.
    """

    compute: float
    data: float

    @property
    def total(self) -> float:
        """Both parts, in microjoule."""
        return self.compute + self.data


def paper(macs: int, memory_bytes: int) -> Energy:
    """Returns the energy with the constants of seed A's tool.

    Args:
        macs: Multiply-accumulates.
        memory_bytes: Weights and outputs at 32 bit (`Cost.memory_bytes`).
    """
    return Energy(
        _PICOJOULE_IN_MICROJOULE * _PAPER_MAC * macs, _PICOJOULE_IN_MICROJOULE * _PAPER_MEGABYTE * memory_bytes / _MIB
    )


def horowitz(macs: int, memory_bytes: int, *, int8: bool = False) -> Energy:
    """Returns the energy with the constants of Horowitz.

    Args:
        macs: Multiply-accumulates.
        memory_bytes: Weights and outputs at 32 bit (`Cost.memory_bytes`).
        int8: Whether weights, outputs and arithmetic are 8-bit integers instead of 32-bit floats.
    """
    mac, share = (_INT8_MAC, _INT8_SHARE) if int8 else (_FLOAT_MAC, 1.0)
    words = share * memory_bytes / _WORD_BYTES
    return Energy(_PICOJOULE_IN_MICROJOULE * mac * macs, _PICOJOULE_IN_MICROJOULE * _DRAM_WORD * words)
