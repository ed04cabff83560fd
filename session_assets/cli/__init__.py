"""The terminal: `session-assets …`."""

from session_assets.cli.main import main

__all__ = ["main"]
