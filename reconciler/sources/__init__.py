"""Sources hand over manifests as bytes. They parse nothing and look at nothing outside the repository root."""
