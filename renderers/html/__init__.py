"""Web pages as Chromium paints them: page images with the place of every text that a person sees."""
