"""The express lane: inference requests and probes answered in front of the Quart app."""
