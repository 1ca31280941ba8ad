"""A variant in operation: a service on devices, how it is rolled out, and how it is watched."""
