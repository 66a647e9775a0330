"""Readers of carried consent signals: strict, and never permissive when in doubt."""
