"""`session-assets api`: what the runbooks call over HTTP, on top of the graph. It reads assets and launches runs, no more."""
