"""Warehouses, one file each."""
