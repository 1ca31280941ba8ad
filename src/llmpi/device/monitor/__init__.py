"""What watches a service on this machine."""
