"""Who comes: keys and tokens, and what they say of their bearers."""
