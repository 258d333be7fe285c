"""Chat with a language model that an Ollama server runs (POST /api/chat, one JSON object a line)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.request import Request, urlopen


def chat(
    url: str, model: str, messages: list[dict[str, str]], timeout: float = 120
) -> Iterator[str]:
    """The answer's tokens as they are made. Closing the generator ends the connection, and so the model's work.

    Args:
        messages: the conversation so far, oldest first, each with a "role" ("system", "user" or "assistant") and its
            "content". The server keeps none of it.

    Raises:
        OSError: the server can't be reached, or refuses.
        RuntimeError: the server reports a failure in the middle of its answer.
    """
    body = json.dumps({"model": model, "messages": messages, "stream": True}).encode()
    request = Request(url.rstrip("/") + "/api/chat", body, {"Content-Type": "application/json"})
    with urlopen(request, timeout=timeout) as response:
        for line in response:
            part = json.loads(line)
            if "error" in part:
                raise RuntimeError(f"Ollama: {part['error']}")
            if token := part.get("message", {}).get("content"):
                yield token
            if part.get("done"):
                return
    raise RuntimeError("Ollama: the answer broke off")
