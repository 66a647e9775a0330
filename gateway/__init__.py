"""The gateway: doors, logs, processes and wiring."""
