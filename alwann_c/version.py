"""Name and version of this tool."""

VERSION = "0.1.0"
TOOL = f"alwann-c {VERSION}"
