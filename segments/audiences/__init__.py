"""Audiences: membership differences and what may be sent."""
