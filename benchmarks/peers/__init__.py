"""What the product is compared with: a good team's own stack, an empty endpoint, a mock server."""
