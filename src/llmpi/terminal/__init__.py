"""What a person sees at the terminal: how far a study is, how a run goes, how it ended."""
