"""Rule figures."""
