"""Inbound protocols, one file each."""
