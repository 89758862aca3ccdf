"""The book: chapters in Markdown, and the few programs that keep them true."""
