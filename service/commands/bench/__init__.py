"""`tureen bench`: drives a running server and reports rates, latencies and the batches that it formed."""

from service.commands.bench.command import bench

__all__ = ["bench"]
