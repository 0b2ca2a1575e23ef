"""Masked language modeling: pretraining an encoder further on plain text, to make sparse upstream checkpoints."""
