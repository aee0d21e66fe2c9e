"""The HTTP service: a Quart app around an engine that pairs models with batchers."""

from service.app import create_app
from service.config import Config
from service.context import service_of
from service.mount import mount

__all__ = ["Config", "create_app", "mount", "service_of"]
