"""Requests and answers kept for a second look, and sent again."""
