"""Recipes: from text to validated data. Knows no torch."""
