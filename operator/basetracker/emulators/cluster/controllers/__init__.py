"""The controllers of an emulated cluster: what brings its objects to life, as kube-controller-manager and kubelet do."""
