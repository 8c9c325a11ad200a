"""The plugin of Sundog's own tests."""
