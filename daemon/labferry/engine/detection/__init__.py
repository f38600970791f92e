"""The detect lane and its parts: what is known of a root, who is there, when to look, and looking."""
