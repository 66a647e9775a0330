"""Reading, writing and reviewing einlass.toml; everyone else goes through gateway.settings."""
