"""Drawing: plain data in, HTML out. Knows neither the database nor HTTP."""
