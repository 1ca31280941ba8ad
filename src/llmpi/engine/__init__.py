"""The engine and what runs beside it, on the workstation and on a device: the ground floor."""
