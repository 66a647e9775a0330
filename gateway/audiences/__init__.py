"""Audiences on their way out: what is wanted, what may leave, what became of it."""
