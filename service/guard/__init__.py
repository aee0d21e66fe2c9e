"""Who may call, for what, and how much. Plain functions, no web framework: both lanes ask the same gate."""
