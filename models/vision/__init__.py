"""Encoded images to a model's input tensor, and its scores to labels."""
