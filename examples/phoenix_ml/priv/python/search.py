"""Semantic search in a few passages of text: those of passages.txt, or others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import minilm


class Index:
    """Texts and their vectors."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.vectors = minilm.encode(texts)

    def search(self, query: str, top: int) -> list[dict[str, Any]]:
        """The passages that are nearest to the query, best first; a score is a cosine, 1 at most."""
        scores = self.vectors @ minilm.encode([query])[0]
        best = scores.argsort()[::-1][:top]
        return [{"text": self.texts[place], "score": float(scores[place])} for place in best]


def read(path: Path) -> list[str]:
    """The paragraphs of a file, each on one line."""
    paragraphs = path.read_text(encoding="utf-8").split("\n\n")
    return [" ".join(paragraph.split()) for paragraph in paragraphs if paragraph.strip()]


# Made with the module, once in each worker, before the worker counts as ready.
INDEX = Index(read(Path(__file__).parent / "passages.txt"))


def search(query: str, top: int = 3) -> list[dict[str, Any]]:
    return INDEX.search(query, top)
