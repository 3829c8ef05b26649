"""Planning: from a budget to the widths that keep it. Plans are data; applying one is another step."""

from secateur.core.planning.budgets import absolute_budget, effective_budget, merged, predicted, tighten
from secateur.core.planning.curves import CurvePoint
from secateur.core.planning.hybrid import ALPHAS, groups_to_score
from secateur.core.planning.infeasible import BudgetInfeasible
from secateur.core.planning.plan import Plan
from secateur.core.planning.planner import Planner, Trace, plan
from secateur.core.planning.quotes import LimitQuote, Quoter, TargetQuote, quote
from secateur.core.planning.search import Candidate, draw_candidates, ranks
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget

__all__ = [
    "ALPHAS",
    "Budget",
    "BudgetInfeasible",
    "Candidate",
    "CurvePoint",
    "LimitQuote",
    "Plan",
    "Planner",
    "Quoter",
    "TargetQuote",
    "Trace",
    "WidthRule",
    "absolute_budget",
    "draw_candidates",
    "effective_budget",
    "groups_to_score",
    "merged",
    "plan",
    "predicted",
    "quote",
    "ranks",
    "tighten",
]
