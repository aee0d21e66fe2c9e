"""The same photographs, labels and graph behind other servers; each file runs in a virtual environment of its own."""
