"""Segment definitions: tree, plan, explanation."""
