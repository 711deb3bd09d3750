"""Plans: one step for every stored tensor, and how a plan is told: tables, differences, explanations, JSON."""

from fanin.plans.plan import Plan as Plan
