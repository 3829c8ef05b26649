"""How far predicted sizes lie from those of real files and arenas.

`python -m tests.benchmarks.sizes` exports every network of `tests.support.exported` to LiteRT float32 and int8, finds the
smallest arena in which TensorFlow Lite Micro starts the int8 file, prints a table and writes docs/results/sizes.json.
"""

from __future__ import annotations

import json
import os
import statistics
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")

from tests.support.exported import NETWORKS, sizes_of
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/sizes.json"


def main() -> None:
    rows: list[dict[str, Any]] = []
    for name, build in NETWORKS.items():
        sizes = sizes_of(build())
        errors = sizes.errors()
        for kind, predicted, real in (
            ("int8", sizes.cost.flash_bytes, sizes.int8),
            ("float32", sizes.cost.flash_float32_bytes, sizes.float32),
            ("arena", sizes.cost.ram_bytes, sizes.arena),
        ):
            rows.append({"network": name, "what": kind, "predicted": predicted, "real": real, "error": errors.get(kind)})
            shown = f"{errors[kind]:+8.2%}" if kind in errors else "cannot run"
            print(f"{name:14} {kind:8} {predicted:12,} {real or 0:12,} {shown}", flush=True)
    summary = {}
    for kind in ("int8", "float32", "arena"):
        found = [abs(row["error"]) for row in rows if row["what"] == kind and row["error"] is not None]
        summary[kind] = {"max": max(found), "median": statistics.median(found)}
        print(f"{kind:8} error at most {max(found):.2%}, median {statistics.median(found):.2%}")
    RESULTS.write_text(json.dumps({"errors": summary, "sizes": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
