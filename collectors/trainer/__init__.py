"""Train the small reference models that the project measures."""
