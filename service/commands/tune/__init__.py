"""`tureen tune`: tries batching settings on this machine, and prints those that meet a latency goal."""

from service.commands.tune.command import tune

__all__ = ["tune"]
