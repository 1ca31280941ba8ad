"""Faster settings of the engine, searched on the device itself."""
