"""Budgets as ratios: each benchmark prints one table and bounds its own time."""
