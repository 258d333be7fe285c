"""Chat with a language model that an Ollama server runs (POST /api/chat, one JSON object a line)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from urllib.request import Request, urlopen


def chat(url: str, model: str, system: str, question: str, timeout: float = 120) -> Iterator[str]:
    """The answer's tokens as they are made. Closing the generator ends the connection, and so the model's work.

    Raises:
        OSError: the server can't be reached, or refuses.
        RuntimeError: the server reports a failure in the middle of its answer.
    """
    messages = [{"role": "system", "content": system}, {"role": "user", "content": question}]
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
