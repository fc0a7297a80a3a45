"""Image vocabulary: references, digests, platforms, manifests and the proof of lineage. Pure; knows no tracker."""
