"""What Schemathesis does not know of the hub's bodies: events are lines of JSON."""

from __future__ import annotations

import json
from typing import Any

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def lines(ctx: Any, value: Any) -> bytes:
    """A text as it is. Anything else is meant to be refused, and as JSON it would be an event."""
    if isinstance(value, bytes):
        return value
    return (value if isinstance(value, str) else f"no text: {json.dumps(value)}").encode(errors="surrogatepass")
