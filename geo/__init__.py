"""The domain: what there is in a governed place, and what can be asked of it."""
