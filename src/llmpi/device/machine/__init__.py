"""What this machine is, and how its conditions are watched and bounded."""
