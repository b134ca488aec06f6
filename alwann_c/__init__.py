"""alwann-c."""
