"""One blueprint for each family of endpoints. They translate HTTP to a call of the engine and back, nothing else."""

from __future__ import annotations

from quart import Blueprint

from service.blueprints.configuration import configuration
from service.blueprints.documentation import documentation
from service.blueprints.health import health
from service.blueprints.images import images
from service.blueprints.jobs import jobs
from service.blueprints.metrics import metrics
from service.blueprints.oip import oip
from service.blueprints.pages import pages
from service.blueprints.repository import repository
from service.blueprints.tfserving import tfserving

BLUEPRINTS: tuple[Blueprint, ...] = (configuration, documentation, health, images, jobs, metrics, oip, pages, repository, tfserving)

__all__ = ["BLUEPRINTS"]
