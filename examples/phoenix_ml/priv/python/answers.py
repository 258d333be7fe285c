"""Answers to questions, token by token: by a language model that Ollama serves, else out of the passages as they are."""

from __future__ import annotations

import os
from collections.abc import Iterator

import ollama_chat
import search

# Below this cosine a passage is about something else.
NEAR = 0.3


def answer(question: str) -> Iterator[str]:
    near = [match["text"] for match in search.search(question, 3) if match["score"] >= NEAR]
    if not near:
        yield "Nothing here is about that."
    elif url := os.environ.get("OLLAMA_URL"):
        model = os.environ.get("OLLAMA_MODEL", "llama3.2")
        messages = [
            {"role": "system", "content": instructions(near)},
            {"role": "user", "content": question},
        ]
        yield from ollama_chat.chat(url, model, messages)
    else:
        yield from (word + " " for word in near[0].split())


def instructions(passages: list[str]) -> str:
    return "Answer in one sentence, only from these passages:\n\n" + "\n\n".join(passages)
