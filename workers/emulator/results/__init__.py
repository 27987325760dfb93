"""Result documents: built, cached, and delivered to callback URLs."""
