"""Answers that are given again: what they are kept under, where, for how long; and one computation for all who ask at once."""
