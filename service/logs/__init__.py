"""The log: lines made off the loop, by a thread that alone waits for whoever reads."""

from service.logs.writer import Fields, LogWriter, current, start, stop

__all__ = ["Fields", "LogWriter", "current", "start", "stop"]
