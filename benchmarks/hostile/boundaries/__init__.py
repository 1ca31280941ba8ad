"""Where something of somebody else's comes in, a module for each place: `benchmarks.hostile`."""
