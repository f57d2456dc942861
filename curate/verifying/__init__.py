"""Check a finished folder, and mend what is damaged."""
