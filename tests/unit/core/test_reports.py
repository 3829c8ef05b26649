"""What came of a target."""

from __future__ import annotations

from dataclasses import replace

from secateur.core.cost import cost_of
from secateur.core.graph import zoo
from secateur.core.reports import ArtifactFormat, ArtifactReport, TargetReport
from secateur.core.resources import Compliance, Resource


def test_a_target_is_met_by_a_model_that_keeps_every_limit() -> None:
    kept = Compliance(Resource.FLASH_BYTES, asked=10, achieved=10, method="")
    file = ArtifactReport(ArtifactFormat.LITERT_INT8, "0" * 64, 10, 0.9, 100)
    met = TargetReport(0, None, cost_of(zoo.build("resnet20", (8, 8, 1), 10)), (kept,), (file,))
    assert met.met
    assert not replace(met, artifacts=()).met
    assert not replace(met, compliance=(kept, replace(kept, achieved=11))).met
