"""What a disk refuses: Python, Polars and Arrow say it with errors of different classes, some only in their text."""

from __future__ import annotations

import errno
import os
import re

_NUMBER = re.compile(r"[(\[](?:os error|errno) (\d+)[)\]]", re.IGNORECASE)
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO}
"""Full, over the quota, file too large, read-only, broken."""


def number_of(error: BaseException | str) -> int | None:
    """The number of the operating system's error behind an error; None if none is behind it."""
    number = getattr(error, "errno", None)
    found = _NUMBER.search(str(error))
    return number if isinstance(number, int) else int(found[1]) if found else None


def refused(error: BaseException | str) -> str | None:
    """What the disk said if it refused to be written to, for example `No space left on device`."""
    number = number_of(error)
    return os.strerror(number) if number in _DISK else None
