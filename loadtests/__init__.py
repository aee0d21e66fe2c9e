"""Load tests. They know the service by HTTP alone."""
