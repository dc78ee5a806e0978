"""Tokens as a backend signs them."""

import base64
import hashlib
import hmac
import json
import time
from pathlib import Path
from typing import Any

_SECRET = Path(__file__).parent.parent.joinpath("secret.txt").read_bytes().strip()


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(**claims: Any) -> str:
    header = json.dumps({"alg": "HS256", "typ": "JWT"}).encode()
    message = f"{_encoded(header)}.{_encoded(json.dumps(claims).encode())}"
    signature = hmac.digest(_SECRET, message.encode(), hashlib.sha256)
    return f"{message}.{_encoded(signature)}"


def in_seconds(seconds: int) -> int:
    """So many seconds from now, as claims have it."""
    return int(time.time()) + seconds
