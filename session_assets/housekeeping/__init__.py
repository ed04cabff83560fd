"""Keeps what runs leave behind from growing for ever."""
