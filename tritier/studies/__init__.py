"""A study of one's own: from a network that exists elsewhere to a complete, checked study folder."""
