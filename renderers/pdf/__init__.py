"""Pages of PDF files by PyMuPDF: page images with the place of every text that a person sees."""
