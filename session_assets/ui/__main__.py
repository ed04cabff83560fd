"""Starts Dagster's web server with `Guard` before it.

Dagster has no option for a middleware. This replaces the function that its command calls to make the application (1.13.27;
`session_assets_tests/ui/test_guard.py` finds out if that changes). `dagster dev` starts a web server without any guard.
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import Any

from session_assets.ui.guard import Guard, hosts

_FACTORY = "create_app_from_workspace_process_context"


def main() -> None:
    """Run the command; its options stay."""
    command = import_module("dagster_webserver.cli")
    create = getattr(command, _FACTORY)

    def create_guarded(context: Any, path_prefix: str = "", *arguments: Any, **options: Any) -> Any:
        app = create(context, path_prefix, *arguments, **options)
        app.add_middleware(Guard, hosts=hosts(os.environ), prefix=path_prefix)
        return app

    setattr(command, _FACTORY, create_guarded)
    command.main()


if __name__ == "__main__":
    main()
