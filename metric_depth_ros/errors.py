"""The one root of all errors. It stands alone so that the command line starts without torch."""

from __future__ import annotations


class MetricDepthError(ValueError):
    """Root of every error that bad input can cause: one line that names what was wrong.

    The command line prints it and exits with status 2; the node warns with it and lives on.
    """
