"""JSON files that carry a digest of themselves: one that was damaged, cut or put in the place of another is found out.

    {"sha256": "<64 hex digits>", "body": <the object>}

The digest is taken of the file's name and of the bytes of its body. So a flipped byte, a cut at any place and a file in the place
of another are all found. It finds damage and carelessness: anyone who may write the files can make the digest, too.

Files of versions without digests hold the body alone. They are read, and `Sealed.sha256` is None: there is nothing to check.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from session_assets.errors import DamagedFile
from session_assets.parsed import parsed_json
from session_assets.storage import Storage

_HEAD, _BETWEEN, _END = b'{"sha256": "', b'", "body": ', b"}"
_BODY_KEY = "body"
"""No file of a version without digests has this key: one that has it, and another beginning, was altered there."""
_BODY = len(_HEAD) + 64 + len(_BETWEEN)


@dataclass(frozen=True)
class Sealed:
    """The object of a file, and the digest that it carries; None of a version without digests."""

    body: dict[str, Any]
    sha256: str | None


def write_sealed(storage: Storage, name: str, body: dict[str, Any]) -> str:
    """Write an object with its digest, durably; returns the digest."""
    content = json.dumps(body).encode()
    digest = _digest(name, content)
    storage.write_bytes(name, b"".join((_HEAD, digest.encode(), _BETWEEN, content, _END)))
    return digest


def read_sealed(storage: Storage, name: str, *needs: str, must: bool = False) -> Sealed:
    """The object of a name, which has the keys `needs`. `must`: a file without a digest is damaged.

    Raises FileNotFoundError, and `DamagedFile` for a file that is not as it was written.
    """
    raw = storage.read_bytes(name)
    if raw.startswith(_HEAD):
        digest, content = raw[len(_HEAD) : len(_HEAD) + 64].decode("latin-1"), raw[_BODY : -len(_END)]
        if raw != b"".join((_HEAD, digest.encode("latin-1"), _BETWEEN, content, _END)):
            raise DamagedFile(name, "it is cut or altered")
        if digest != _digest(name, content):
            raise DamagedFile(name, "its bytes are not those that its digest was taken of")
        return Sealed(json.loads(content), digest)
    body = parsed_json(name, raw)
    if must or not isinstance(body, dict) or _BODY_KEY in body or not all(key in body for key in needs):
        raise DamagedFile(name, "it is another file than was written here" if raw else "it is empty")
    return Sealed(body, None)


def find_sealed(storage: Storage, name: str, *needs: str, must: bool = False) -> Sealed | None:
    """As `read_sealed`, or None where there is no such file."""
    try:
        return read_sealed(storage, name, *needs, must=must)
    except FileNotFoundError:
        return None


def _digest(name: str, content: bytes) -> str:
    return hashlib.sha256(b"%b\n%b" % (name.encode(), content)).hexdigest()
