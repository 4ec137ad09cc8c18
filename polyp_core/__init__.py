"""Everything that is not a screen: images in, a trained and tested classifier out."""

__version__ = "0.2.0"
