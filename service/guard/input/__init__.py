"""How a request may be made: where it ends, how deep, how many, how large; judged before parsers read it."""
