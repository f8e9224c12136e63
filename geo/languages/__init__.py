"""gettext catalogues; the source language is Chinese."""
