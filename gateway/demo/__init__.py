"""The demo: a shop's week end to end, against simulated platforms."""
