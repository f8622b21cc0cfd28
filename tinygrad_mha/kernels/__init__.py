"""Arrays in, arrays out, fast."""
