"""One file per engine that runs plans."""
