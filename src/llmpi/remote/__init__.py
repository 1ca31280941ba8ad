"""Reach a device: the only package that knows Fabric."""
