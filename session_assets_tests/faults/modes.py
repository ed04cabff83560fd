"""How a command of a test is started: obeying the modes of files, as no process of root does, or without standard output."""

from __future__ import annotations

import ctypes
import os

VARIABLE = "SESSION_ASSETS_TEST_OBEYS_MODES"
NO_OUTPUT = "SESSION_ASSETS_TEST_NO_OUTPUT"
"""For a command whose files may not grow: its output is no file of its own."""
_VERSION = 0x20080522
_DAC_OVERRIDE, _DAC_READ_SEARCH = 1, 2


class _Header(ctypes.Structure):
    _fields_ = [("version", ctypes.c_uint32), ("pid", ctypes.c_int)]


class _Data(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint32) for name in ("effective", "permitted", "inheritable")]


def obey_modes() -> None:
    """Give up the right to read and write whatever the mode says. Call before other threads begin; needs Linux."""
    if os.geteuid() != 0:
        return
    library, header, data = ctypes.CDLL(None, use_errno=True), _Header(_VERSION, 0), (_Data * 2)()
    if library.capget(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), "capget")
    data[0].effective &= ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if library.capset(ctypes.byref(header), data):
        raise OSError(ctypes.get_errno(), "capset")
