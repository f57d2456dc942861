"""Images as the world sends them: read, judged, turned upright, shrunk and encoded, in child processes."""
