"""What participants say to each other, and what they write down."""
