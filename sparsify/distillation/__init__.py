"""Distillation: losses on tensors, and the teacher that gives them. Knows no recipe, schedule or trainer."""
