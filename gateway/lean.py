"""Makes the imports that follow it cheaper; the first thing that a serving process imports.

A server that is started again after a crash is away for as long as its imports take. Nothing that
they make is garbage, so nobody needs to look for it: that takes a fifth of the time. structlog
imports rich if it can, for tracebacks in colour that no server prints: that takes another tenth.
"""

import gc
import sys

__all__: list[str] = []

gc.disable()  # whoever imports this enables it again after the imports
if "rich" not in sys.modules:
    sys.modules["rich"] = None  # type: ignore[assignment] # an import of it fails now, for structlog
    import structlog  # noqa: F401 - it is imported for others

    del sys.modules["rich"]
