"""The rules of the market, one ``.pxd`` of small inline functions per part of ``docs/model.md``."""
