"""What this server takes and answers, as OpenAPI 3.1: pure functions from routes and models to one document."""
