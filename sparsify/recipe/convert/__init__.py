"""Configurations of other tools as recipes: text in, commented text out. Pure functions; nothing is run."""

from sparsify.recipe.convert.dialects import Converted, convert
from sparsify.recipe.convert.read import file_source

__all__ = ["Converted", "convert", "file_source"]
