"""What the commands that talk to a running server are made of. They know it by HTTP alone, and import nothing that serves."""
