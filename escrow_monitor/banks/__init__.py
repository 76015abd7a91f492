"""The only way out to banks: their interfaces, their file formats, and one careful client."""
