"""Simulated ad platforms: refuse what the real ones refuse, keep what they would keep."""
