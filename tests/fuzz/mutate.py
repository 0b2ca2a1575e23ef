"""Seeds and mutations for recipes: characters, tokens, lines and halves of recipes that people wrote."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

MOST_CHARACTERS = 6000
PIECES = [
    *"\n:-!&*<>|%@`\"'{}[],#?~ \t\\e0", "eval(", ")", "<<: ", "---\n", "modifiers:", "!A", "*n", "&n ", "!!float ", "\\x",
    "  ", "\r\n", "\ufeff", "\x85", "\x00", "\U0001f600", "9" * 500, "1e999", ".nan", "-.inf", "[" * 70, "eval(n)", "20%",
    "500 steps", "-1", "{x}", "extends: base.yaml\n", "extends: .\n", "extends: ../..\n", "epochs: absolute\n",
    "stages:\n", "run_type: oneshot\n", "log_types: __ALL__\n", "start: 1.0\n", "end: 50%\n", "targets: [a]\n", "null",
    "eval(9**9**9)", "eval(1/0)", "eval(" * 40, "!GMPruningModifier", "!QuantizationModifier:", "true", "{}", "[]",
    "lr_kwargs: {milestones: [10%, 3 steps]}\n", "__metadata__: {a: b}\n", "\u2028", "1" * 30, "0x", "1_0", "? ", "| \n",
]  # fmt: skip
ARGS = [
    None,
    "n=5",
    "x=[1]",
    '{"v": "a b", "y": null}',
    "num_epochs=eval(n)",
    "start_epoch=0,end_epoch=3",
    "[",
    "a=b=c",
    "params=__ALL__",
]
SETS = [
    None,
    "modifiers[0].start_epoch=1",
    "GMPruningModifier.final_sparsity=eval(n)",
    "a.b.c=[1",
    "modifiers.0.new.x={}",
    "n=3",
    "[0]=1",
    ".=",
    "x_stage.m_modifiers.EpochRangeModifier.end=20%",
]

Mutation = Callable[[random.Random, str, str], str]


def _piece(rng: random.Random, text: str, other: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + rng.choice(PIECES) + text[at + rng.choice([0, 0, 1, 3, 12]) :]


def _character(rng: random.Random, text: str, other: str) -> str:
    at = rng.randrange(len(text) + 1)
    return text[:at] + chr(rng.choice([rng.randrange(32, 127), rng.randrange(0x3000)])) + text[at + 1 :]


def _line(rng: random.Random, text: str, other: str) -> str:
    lines = text.split("\n")
    at = rng.randrange(len(lines))
    moved = lines[at]
    change = rng.randrange(4)
    if change == 0:
        del lines[at]
    elif change == 1:
        lines.insert(rng.randrange(len(lines) + 1), moved)
    elif change == 2:
        lines[at] = " " * rng.randrange(8) + moved.lstrip()
    else:
        lines.insert(rng.randrange(len(lines) + 1), rng.choice(other.split("\n")))
    return "\n".join(lines)


def _halves(rng: random.Random, text: str, other: str) -> str:
    return text[: rng.randrange(len(text) + 1)] + other[rng.randrange(len(other) + 1) :]


def _value(rng: random.Random, text: str, other: str) -> str:
    colons = [i for i, char in enumerate(text) if char == ":"]
    if not colons:
        return text
    at = rng.choice(colons) + 1
    end = text.find("\n", at)
    return text[:at] + " " + rng.choice(PIECES) + (text[end:] if end >= 0 else "")


def _pairs(text: str) -> list[tuple[int, str, str]]:
    """Lines that are just ``key: value``: their index, all up to the colon, and the value."""
    lines = [(i, *line.partition(": ")) for i, line in enumerate(text.split("\n"))]
    return [(i, head, value) for i, head, colon, value in lines if colon]


def _other_value(rng: random.Random, text: str, other: str) -> str:
    """The value of another line, of any recipe, in place of one: it stays YAML."""
    mine, theirs = _pairs(text), _pairs(rng.choice([text, other]))
    if not mine or not theirs:
        return text
    lines = text.split("\n")
    index, head, _ = rng.choice(mine)
    lines[index] = f"{head}: {rng.choice([rng.choice(theirs)[2], rng.choice(VALUES)])}"
    return "\n".join(lines)


def _other_field(rng: random.Random, text: str, other: str) -> str:
    """One more field, beside one that is there."""
    mine, theirs = _pairs(text), _pairs(rng.choice([text, other]))
    if not mine or not theirs:
        return text
    lines = text.split("\n")
    index, head, _ = rng.choice(mine)
    _, name, value = rng.choice(theirs)
    lines.insert(index, " " * (len(head) - len(head.lstrip())) + f"{name.strip()}: {value}")
    return "\n".join(lines)


VALUES = [
    "20%",
    "500 steps",
    "-1",
    "0",
    "0.5",
    "eval(1)",
    "[a]",
    "null",
    "1e-4",
    "{0.5: [a]}",
    "true",
    "__ALL__",
    "7.0",
]
GENTLE: list[Mutation] = [_other_value, _other_value, _other_field]
ALL: list[Mutation] = [_piece, _character, _line, _halves, _value, *GENTLE]


def mutated(seed: int, texts: list[str]) -> tuple[str, str | None, str | None]:
    """Text number ``seed``, with what is given as ``recipe_args`` and ``set_fields`` beside it."""
    rng = random.Random(seed)
    text = rng.choice(texts)
    mutations = rng.choice([GENTLE, ALL])
    for _ in range(rng.choice([1, 1, 1, 2, 6])):
        text = rng.choice(mutations)(rng, text, rng.choice(texts))
    args, fields = (rng.choice(among) if rng.random() < 0.2 else None for among in (ARGS, SETS))
    return text + "\n", args, fields


def seeds(root: Path) -> list[str]:
    """Recipes to begin from: packaged and documented ones, the bad ones, and the corpus where it is."""
    tests = root / "tests" / "unit" / "recipe"
    blocks = (tests / "bad_recipes.txt").read_text().split("\n=== ")[1::3]
    texts = [block.split("\n--> ")[0].split("\n", 1)[-1] for block in blocks]
    texts += [path.read_text() for path in sorted((root / "recipes").rglob("*.yaml"))]
    texts += [block.split("```")[0] for block in (root / "docs" / "recipes.md").read_text().split("```yaml\n")[1:]]
    corpus = root.parent / "shared" / "data" / "recipe_corpus"
    texts += [path.read_text() for path in sorted(corpus.glob("*")) if path.name != "README.md"]
    return [text for text in texts if text and len(text) <= MOST_CHARACTERS]
