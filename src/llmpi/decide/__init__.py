"""What a study will need and give, before a weight is downloaded."""
