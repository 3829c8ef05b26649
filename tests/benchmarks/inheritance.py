"""How far pruned networks with inherited weights are from the unpruned ones with the cut channels held at zero.

`python -m tests.benchmarks.inheritance` prunes every network of `tests.support.inherited` to half of its channels under every
criterion, prints the largest relative error of any output and writes docs/results/inheritance.json. Exits with 1 if an error
exceeds 1e-5.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from typing import Any

from secateur.core.specs import Criterion
from secateur.workers.engine.measure import machine
from tests.support.inherited import FULL, IMAGES, TOLERANCE, inherited_half
from tests.support.networks import trained_looking
from tests.support.stack import ROOT

RESULTS = ROOT / "docs/results/inheritance.json"


def main() -> int:
    rows: list[dict[str, Any]] = []
    right = True
    for name, build in FULL.items():
        graph = build()
        model = trained_looking(graph)
        for criterion in Criterion:
            found = inherited_half(graph, model, criterion)
            right &= found.right
            rows.append({"network": name, "criterion": criterion.value, **asdict(found)})
            verdict = "" if found.right else "  NOT"
            print(f"{name:12} {criterion:17} error {found.error:.1e}  {found.kept:4.0%} of the weights{verdict}", flush=True)
    worst = max(row["error"] for row in rows)
    print(f"largest error {worst:.1e}, allowed {TOLERANCE:.0e}")
    found_all = {
        "command": "python -m tests.benchmarks.inheritance",
        "machine": machine(),
        "what": f"largest difference of any output over the largest output, {len(IMAGES)} images, weights drawn",
        "tolerance": TOLERANCE,
        "largest_error": worst,
        "rows": rows,
    }
    RESULTS.write_text(json.dumps(found_all, indent=2) + "\n")
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
