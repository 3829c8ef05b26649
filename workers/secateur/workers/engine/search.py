"""Search: many plans, ranked without training; the best few trained briefly, and the best of these in full.

Which widths a network keeps decides how good it gets, and no count of its resources tells. So every step looks closer at fewer
plans. Choices are made by scores that need no labels of the validation split, or by that split; never by the test split.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from secateur.core.jobs import JobStage
from secateur.core.planning import Candidate, Plan, draw_candidates, ranks
from secateur.core.reports import SearchCandidate
from secateur.core.resources import Budget
from secateur.core.specs import PlanMode, SearchPolicy
from secateur.workers.engine.fitting import Fitting
from secateur.workers.engine.proposals import Proposal, Task
from secateur.workers.engine.proxies import proxy_scores

MAX_RANKED: Final = 256
"""Most candidates that are ranked, those drawn first; one the size of ResNet-20 takes a second or two on two cores."""

_EXPORTS_PER_FINALIST: Final = 2
"""How many of the best-ranked are exported at most, per finalist: where that many miss a limit, the budget is tightened."""
_ANNOUNCED: Final = 8
"""Every how many ranked candidates the listener hears of it."""


@dataclass(slots=True)
class _Entry:
    """A candidate and what has been found out about it."""

    drawn: Candidate
    record: SearchCandidate

    @property
    def plan(self) -> Plan:
        return self.drawn.plan

    def learn(self, **figures: object) -> None:
        self.record = replace(self.record, **figures)  # type: ignore[arg-type]  # fields of SearchCandidate


class Search:
    """Plans of one target by search. What was found out about a plan is kept for the next budget.

    Args:
        task: The target.
        policy: How many plans are looked at.
        fitting: Measures exports.
    """

    def __init__(self, task: Task, policy: SearchPolicy, fitting: Fitting) -> None:
        self._task = task
        self._policy = policy
        self._fitting = fitting
        self._scores: dict[str, dict[str, float]] = {}
        self._accuracies: dict[str, float] = {}

    def propose(self, budget: Budget) -> Proposal:
        """Searches; where no export of the best keeps its limits, proposes the best-ranked nevertheless."""
        task = self._task
        entries = [_entry(drawn) for drawn in self._draw(budget)]
        ranked = self._rank([entry for entry in entries if not entry.drawn.missed][:MAX_RANKED])
        fitting = self._export(ranked)
        finalists = self._finalists(fitting)
        if len(finalists) > 1:
            self._train_briefly(finalists)
        chosen = min(finalists or ranked, key=_order)
        chosen.learn(chosen=True)
        candidates = tuple(entry.record for entry in sorted(entries, key=_order))
        trained = f", {len(finalists)} trained briefly" if len(finalists) > 1 else ""
        note = f"Chosen among {len(entries)} plans: {len(ranked)} ranked without training{trained}."
        recipe = task.from_scratch(chosen.plan)
        return Proposal(chosen.plan, task.fresh(chosen.plan), recipe, candidates=candidates, note=note)

    def _draw(self, budget: Budget) -> tuple[Candidate, ...]:
        spec = self._task.spec
        return draw_candidates(self._task.graph, budget, spec.policy, seed=spec.seed, profile=self._task.profile)

    def _rank(self, entries: Sequence[_Entry]) -> list[_Entry]:
        """Scores untrained networks and returns them by mean rank, the best first; of equals, the first drawn."""
        for number, entry in enumerate(entries):
            if number % _ANNOUNCED == 0:
                done = f", {number} done" if number else ""
                self._task.on_stage(JobStage.PLANNING, f"Ranking {len(entries)} candidates without training{done}")
            digest = entry.plan.digest
            if digest not in self._scores:
                model = self._task.fresh(entry.plan)
                self._scores[digest] = proxy_scores(model, self._task.data.train, probabilities=self._task.probabilities)
            entry.learn(scores=self._scores[digest])
        for entry, rank in zip(entries, ranks([entry.record.scores for entry in entries]), strict=True):
            entry.learn(rank=rank)
        return sorted(entries, key=_order)

    def _export(self, ranked: Sequence[_Entry]) -> list[_Entry]:
        """Returns the best-ranked whose untrained export keeps every limit, and the uniform plan if its export does."""
        wanted = self._policy.finalists
        found: list[_Entry] = []
        for entry in ranked[: _EXPORTS_PER_FINALIST * wanted]:
            if len(found) < wanted and self._fits(entry):
                found.append(entry)
        found.extend(entry for entry in _uniform(ranked) if entry.record.measured_fits is None and self._fits(entry))
        return found

    def _fits(self, entry: _Entry) -> bool:
        self._task.on_stage(JobStage.PLANNING, f"Measuring the untrained export: {entry.drawn.origin}")
        compliance = self._fitting.untrained_compliance(entry.plan, self._task.fresh(entry.plan))
        fits = all(limit.met for limit in compliance)
        entry.learn(measured_fits=fits)
        return fits

    def _finalists(self, fitting: Sequence[_Entry]) -> list[_Entry]:
        """Returns the best-ranked; where there is a contest, the last place goes to the uniform plan unless it has one."""
        wanted = self._policy.finalists
        best = list(fitting[:wanted])
        if wanted > 1:
            others = [entry for entry in _uniform(fitting) if entry not in best]
            best = best[: wanted - len(others)] + others
        return best

    def _train_briefly(self, finalists: Sequence[_Entry]) -> None:
        recipe = self._task.spec.recipe
        brief = replace(recipe, epochs=min(recipe.epochs, self._policy.brief_epochs))
        for number, entry in enumerate(finalists, start=1):
            step = f"finalist {number} of {len(finalists)} for {brief.epochs} epochs: {entry.drawn.origin}"
            self._task.on_stage(JobStage.TRAINING, f"Training {step}")
            digest = entry.plan.digest
            if digest not in self._accuracies:
                training = self._task.train(self._task.fresh(entry.plan), brief, start=digest, reported=False)
                self._accuracies[digest] = training.best.accuracy
            entry.learn(validation_accuracy=self._accuracies[digest])


def _entry(drawn: Candidate) -> _Entry:
    cost = drawn.plan.cost
    record = SearchCandidate(drawn.origin, drawn.plan.digest, cost.parameters, cost.macs, drawn.missed)
    return _Entry(drawn, record)


def _uniform(entries: Iterable[_Entry]) -> list[_Entry]:
    return [entry for entry in entries if entry.plan.mode is PlanMode.UNIFORM]


def _order(entry: _Entry) -> tuple[bool, float, float, int]:
    """Sorts the best first: what was trained in full, then by accuracy, then by rank; what misses a limit is last."""
    record = entry.record
    accuracy = -1.0 if record.validation_accuracy is None else record.validation_accuracy
    rank = math.inf if record.rank is None else record.rank
    return not record.chosen, -accuracy, rank, len(record.missed)
