"""Planning: from a budget to the widths that keep it. Plans are data; applying one is another step."""

from secateur.core.planning.budgets import absolute_budget, effective_budget, merged, predicted, profile_of, tighten
from secateur.core.planning.plan import Plan
from secateur.core.planning.planner import BudgetInfeasible, Planner, plan
from secateur.core.planning.quotes import LimitQuote, TargetQuote, quote
from secateur.core.planning.widths import WidthRule
from secateur.core.resources import Budget

__all__ = [
    "Budget",
    "BudgetInfeasible",
    "LimitQuote",
    "Plan",
    "Planner",
    "TargetQuote",
    "WidthRule",
    "absolute_budget",
    "effective_budget",
    "merged",
    "plan",
    "predicted",
    "profile_of",
    "quote",
    "tighten",
]
