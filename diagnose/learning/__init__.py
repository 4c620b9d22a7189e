"""What is learned from incidents: how often signatures were right, kinds of unknown failures, drafts of rules."""
