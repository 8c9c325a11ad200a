"""Admin commands: one declaration each, from the word that is typed to the text of the answer."""
