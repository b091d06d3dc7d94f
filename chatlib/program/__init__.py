"""The client for people: the dialogue, the sentences that people read, and what a half-typed line may become."""
