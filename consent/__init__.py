"""Consent: who agreed to what, how identifiers are transformed, and the proof."""
