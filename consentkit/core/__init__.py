"""The rules of consent: values and pure functions. No clock, no table, no framework."""
