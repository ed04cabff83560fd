"""Tells people of checks and runs that failed, once, and of their recovery: by webhook, by e-mail, or both."""
