"""The HTTP service: a Quart app around an engine that pairs models with batchers."""
