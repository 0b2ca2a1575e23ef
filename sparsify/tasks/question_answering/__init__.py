"""Extractive question answering: where in a text the answer to a question stands; SQuAD v1 and v2."""
