"""HTTP in, HTTP out; the only place where geo meets maps."""
