"""Fake quantization of torch models and its export form. Knows nothing of recipes, schedules or trainers."""
