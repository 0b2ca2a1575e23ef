"""Text classification: one text or two, one class, several, or a number; GLUE by name."""
